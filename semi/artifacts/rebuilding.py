"""From what a folder holds back to objects: whatever does not fit is an error that names it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from semi.artifacts.tensors import load_tensors
from semi.errors import ArtifactError, InputError

if TYPE_CHECKING:
    from torch import nn


@contextmanager
def rebuilding(path: Path, kind: str) -> Iterator[None]:
    """Around the building of objects from the JSON in `path`, whose hash proves nothing but that it was not damaged.

    Raises:
        ArtifactError: a key or setting in it is missing, unknown or out of range.
    """
    try:
        yield
    # RuntimeError and MemoryError: torch on sizes that are negative or absurd.
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError, MemoryError) as error:
        got = f"no {error}" if isinstance(error, KeyError) else str(error).splitlines()[0] or type(error).__name__
        raise _not_described(path, kind, got) from error
    except InputError as error:
        raise _not_described(path, kind, f"{error.what}: {error.got}", error.expected) from error


def load_module(module: nn.Module, path: Path) -> None:
    """Fill a module with a file's tensors, as float32: its own names and shapes and nothing else.

    Raises:
        ArtifactError: as `load_tensors`.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    module.load_state_dict({name: tensor.float() for name, tensor in load_tensors(path, shapes).items()})


def require_same(folder: Path, what: str, got: object, expected: object) -> None:
    """Refuse to use a folder with anything but what it was made with.

    Raises:
        ArtifactError: `got` is not what was `expected`.
    """
    if got != expected:
        raise ArtifactError(
            f"{folder} was made with another {what}",
            got=got,
            expected=expected,
            do="use what its manifest names, or make the folder again",
        )


def _not_described(path: Path, kind: str, got: str, expected: object = None) -> ArtifactError:
    return ArtifactError(
        f"{path} does not describe a usable {kind}",
        got=got,
        expected=expected,
        do="use the version of semi that made it, or make the folder again",
    )
