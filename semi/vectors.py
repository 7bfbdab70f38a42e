"""The built-in modality `vectors`, for people who bring their own encoder: a sample is its embedding already."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence, Sized
from pathlib import Path
from typing import TYPE_CHECKING, Any

from semi.errors import InputError, PairsError
from semi.modality import Encoder, Modality

if TYPE_CHECKING:
    import numpy as np


class VectorEncoder:
    """The identity. Its width is that of most vectors of the first batch; every vector must have it."""

    id = "vectors/identity@1"

    def __init__(self) -> None:
        self.width: int | None = None

    def encode(self, samples: Sequence[Any]) -> np.ndarray:
        """The vectors themselves, (n, width) float32.

        Args:
            samples: n vectors (width,) as `Vectors.parse` gives them, or anything it takes.

        Raises:
            PairsError: a sample is no finite vector, or the widths differ.
            InputError: there is no vector to tell the width from.
        """
        import numpy as np

        rows = [_vector(sample, None) for sample in samples]
        if self.width is None and rows:
            self.width = _usual_width(rows)
        if self.width is None:
            raise InputError("the width of no vectors is unknown", expected="at least one sample")
        for row in rows:
            if len(row) != self.width:
                raise _other_width(row, self.width)
        return np.stack(rows) if rows else np.empty((0, self.width), np.float32)


class Vectors(Modality):
    """Embeddings of an encoder that semi does not know: a list of numbers, or a .npy file that holds one."""

    name = "vectors"
    instruction = "Describe this."
    examples = ([0.1, 0.2, 0.3], [-1.0, 2.5, 0.0], [4.0, 4.0, -4.0])

    def encoder(self, name: str | None = None) -> Encoder:
        """The identity.

        Raises:
            InputError: another encoder was asked for.
        """
        if name not in (None, *self.encoders):
            raise InputError(f"modality 'vectors' has no encoder {name!r}", expected=", ".join(self.encoders))
        return VectorEncoder()  # type: ignore[return-value]  # the width is None until data fixes it

    def misfits(self, samples: Sequence[Any]) -> dict[int, PairsError]:
        """Vectors of another width than most."""
        if not samples:
            return {}
        width = _usual_width(samples)
        return {i: _other_width(row, width) for i, row in enumerate(samples) if len(row) != width}

    def parse(self, sample: Any, *, folder: Path | None = None) -> np.ndarray:
        """The vector (width,), float32.

        Args:
            sample: a list of numbers, the same as JSON text (a CSV cell), an array, or the path of a .npy file.
            folder: what a relative path starts from.

        Raises:
            PairsError: not a vector, empty, or a number in it is NaN, infinite or beyond float32.
        """
        return _vector(sample, folder)

    def window(self, values: np.ndarray, rate_hz: float) -> np.ndarray:
        """The mean (channels,) over the window: of an encoder's outputs as they come, what it sees throughout.

        Raises:
            PairsError: a number is beyond float32.
        """
        return _vector(values.mean(0), None)


def _usual_width(vectors: Sequence[Sized]) -> int:
    return Counter(map(len, vectors)).most_common(1)[0][0]


def _other_width(vector: Sized, width: int) -> PairsError:
    return PairsError(
        "the vector has another width",
        got=f"{len(vector)} numbers",
        expected=f"{width} numbers",
        do="encode all samples with the same encoder",
    )


def _vector(sample: Any, folder: Path | None) -> np.ndarray:
    import numpy as np

    name = "the vector"
    if isinstance(sample, str) and sample.lstrip().startswith("["):
        sample = _from_json(sample)
    elif isinstance(sample, str | Path):
        path = Path(folder or "", sample)
        sample, name = _from_file(path), str(path)
    # bool is an int to Python, and numpy would turn text into numbers or nested lists into tables.
    if isinstance(sample, list | tuple):
        for number, value in enumerate(sample, start=1):
            if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
                raise PairsError(f"entry {number} of {name} is not a number", got=repr(value)[:80])
        try:
            sample = np.array(sample, np.float64)
        except OverflowError:
            raise PairsError(f"{name} holds an integer beyond float64", expected="finite numbers") from None
    if not isinstance(sample, np.ndarray) or sample.dtype.kind not in "fiu" or sample.ndim != 1 or sample.size == 0:
        got = f"shape {sample.shape} of {sample.dtype}" if isinstance(sample, np.ndarray) else repr(sample)[:80]
        raise PairsError(
            f"{name} is not a vector",
            got=got,
            expected="a non-empty list of numbers, or a .npy file with an array (width,) of numbers",
        )
    with np.errstate(over="ignore"):
        vector = sample.astype(np.float32)
    bad = np.flatnonzero(~np.isfinite(vector))
    if bad.size:
        raise PairsError(
            f"entry {bad[0] + 1} of {name} is not finite in float32",
            got=f"{sample[bad[0]]} ({bad.size} such of {vector.size})",
            expected="finite numbers",
            do="leave the sample out, or mend what computed it",
        )
    return vector


def _from_json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise PairsError("the vector is broken JSON", got=f"{text[:80]} ({error})", expected="[0.1, 2, ...]") from error


def _from_file(path: Path) -> np.ndarray:
    """A .npy file's array; nothing pickled in it is ever run."""
    import numpy as np

    try:
        array = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise PairsError(f"there is no file {path}", expected="a list of numbers or the path of a .npy file") from None
    except (OSError, ValueError, EOFError) as error:
        raise PairsError(f"{path} cannot be read as .npy", got=error, do="write it with numpy.save") from error
    if not isinstance(array, np.ndarray):
        array.close()
        raise PairsError(f"{path} holds several arrays", got=".npz", expected="a .npy file with one vector")
    return array
