"""The recordings of seglearn's `watch_dataset.npy`, whose arrays lie in a pickle: read without running any of it."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from semi.errors import ArtifactError

LABELS = ["PEN", "ABD", "FEL", "IR", "ER", "TRAP", "ROW"]
AXES = ["ax", "ay", "az", "wx", "wy", "wz"]


@dataclass(frozen=True)
class Take:
    """One person doing one exercise with one arm, about 20 times."""

    person: int
    """1 to 10."""
    exercise: str
    """One of LABELS."""
    right: bool
    measured: np.ndarray
    """(T, 6), float64, 50 Hz: acceleration with gravity in g, angular velocity in rad/s."""


class _Dtype:
    """What the pickle says of a numpy.dtype."""

    def __init__(self, code: str, *_: object) -> None:
        self.code = code

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = "" if state[1] == "|" else str(state[1])


class _Array:
    """What the pickle says of a numpy.ndarray: `value` is the array, or a list of objects."""

    def __init__(self, *_: object) -> None:
        self.value: Any = None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, fortran, content = state
        if dtype.code[0] == "O":
            self.value = content
            return
        self.value = np.frombuffer(content, dtype.order + dtype.code).reshape(shape, order="F" if fortran else "C")


def _encode(text: str, encoding: str) -> bytes:
    """Python 2 wrote bytes as text in latin1."""
    return text.encode(encoding)


STAND_INS = {
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _encode,
}


class _Reader(pickle.Unpickler):
    """Builds lists, dictionaries, numbers, text and the stand-ins above; any other name in the file is refused."""

    def find_class(self, module: str, name: str) -> Any:
        """The stand-in of that name."""
        if (module, name) not in STAND_INS:
            raise pickle.UnpicklingError(f"it names {module}.{name}")
        return STAND_INS[module, name]


def read_takes(path: Path) -> list[Take]:
    """All recordings of the file, in its order.

    Raises:
        ArtifactError: damaged, or it holds something else.
    """
    try:
        with path.open("rb") as file:
            np.lib.format.read_magic(file)
            np.lib.format.read_array_header_1_0(file)
            content = _Reader(file).load().value[0]
        if content["y_labels"] != LABELS or content["X_labels"] != AXES:
            raise ValueError(f"labels {content['y_labels']}, axes {content['X_labels']}")
        people, exercises, sides = (content[key].value for key in ("subject", "y", "side"))
        return [
            Take(int(person), LABELS[int(exercise)], bool(side), measured.value)
            for person, exercise, side, measured in zip(people, exercises, sides, content["X"], strict=True)
        ]
    except (
        OSError,
        pickle.UnpicklingError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        IndexError,
        EOFError,
    ) as error:
        raise ArtifactError(
            f"{path} cannot be read",
            got=f"{type(error).__name__}: {error}",
            do="fetch it again: semi fetch seglearn-watch",
        ) from error
