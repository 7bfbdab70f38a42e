"""Named tensors in safetensors files: strict when read, byte for byte reproducible when written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from semi.artifacts.files import write_bytes
from semi.errors import ArtifactError

if TYPE_CHECKING:
    from torch import Tensor

Shapes = Mapping[str, tuple[int | None, ...]]
"""Expected shape by tensor name; None stands for any size."""

_AGAIN = "fetch or make the folder again; the file is damaged or is not one that semi wrote"


def save_tensors(path: str | Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write dense tensors of any shape, from any device, to a safetensors file, atomically.

    Args:
        path: the file.
        tensors: by name. Tensors that share memory are written separately.
        metadata: text kept in the file's header.

    Raises:
        OutputError: the file could not be written.
        ArtifactError: a tensor is sparse, or holds NaN or infinity: no such file could be loaded.
    """
    import torch
    from safetensors.torch import save

    path = Path(path)
    dense = {}
    for name, tensor in tensors.items():
        if tensor.layout != torch.strided:
            raise ArtifactError(f"{path}: tensor {name!r} is not dense", got=tensor.layout, expected="a dense tensor")
        _refuse_non_finite(path, name, tensor, do="lower the learning rate or look at the data it was trained on")
        dense[name] = tensor.detach().to("cpu").clone(memory_format=torch.contiguous_format)
    write_bytes(path, _sorted_header(save(dense, dict(metadata) if metadata else None)))


def load_tensors(path: str | Path, shapes: Shapes | None = None) -> dict[str, Tensor]:
    """Read a safetensors file: the names and shapes of `shapes` and nothing else, every value finite.

    Args:
        path: the file.
        shapes: what must be in it; None accepts any names and shapes.

    Raises:
        ArtifactError: the file is missing, truncated or not safetensors; a tensor is missing, unknown, of another
            shape, or holds NaN or infinity.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    path = Path(path)
    try:
        tensors = load(_read(path))
    # The reader raises KeyError for a data type that this torch does not have.
    except (SafetensorError, ValueError, KeyError) as error:
        raise ArtifactError(f"{path} is not a whole safetensors file", got=error, do=_AGAIN) from error
    if shapes is not None:
        _refuse_other_names(path, set(tensors), set(shapes))
        for name, expected in shapes.items():
            _refuse_other_shape(path, name, tuple(tensors[name].shape), expected)
    for name, tensor in tensors.items():
        _refuse_non_finite(path, name, tensor, do=_AGAIN)
    return tensors


def read_metadata(path: str | Path) -> dict[str, str]:
    """The text kept in a safetensors file's header; {} where there is none.

    Raises:
        ArtifactError: as `load_tensors`.
    """
    metadata: dict[str, str] = _header(Path(path)).get("__metadata__", {})
    return metadata


def tensor_shapes(path: Path) -> dict[str, list[int]]:
    """Shape by tensor name, from the header alone."""
    return {name: entry["shape"] for name, entry in _header(path).items() if name != "__metadata__"}


def _header(path: Path) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            size = int.from_bytes(file.read(8), "little")
            # A damaged length must not make us read or allocate more than is there.
            header = json.loads(file.read(min(size, path.stat().st_size)))
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read", got=error.strerror) from error
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{path} is not a whole safetensors file", got=error, do=_AGAIN) from error
    if not isinstance(header, dict):
        raise ArtifactError(f"{path} is not a whole safetensors file", got="no header", do=_AGAIN)
    return header


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise ArtifactError(f"{path} does not exist", do="check the name") from error
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read", got=error.strerror) from error


def _sorted_header(data: bytes) -> bytes:
    """The same safetensors file with its header's keys sorted: the library writes metadata in an arbitrary order."""
    size = int.from_bytes(data[:8], "little")
    header = json.dumps(json.loads(data[8 : 8 + size]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)  # the format aligns tensor data to 8 bytes
    return len(header).to_bytes(8, "little") + header + data[8 + size :]


def _refuse_other_names(path: Path, got: set[str], expected: set[str]) -> None:
    if got == expected:
        return
    missing, unknown = sorted(expected - got), sorted(got - expected)
    problems = [f"{label} {', '.join(names)}" for label, names in (("lacks", missing), ("has", unknown)) if names]
    raise ArtifactError(
        f"{path} has other tensors than it should",
        got="; ".join(problems),
        expected=", ".join(sorted(expected)),
        do="use a folder made by this version of semi for this purpose",
    )


def _refuse_other_shape(path: Path, name: str, got: tuple[int, ...], expected: tuple[int | None, ...]) -> None:
    if len(got) == len(expected) and all(want in (None, size) for size, want in zip(got, expected, strict=True)):
        return
    shown = ", ".join("any" if size is None else str(size) for size in expected)
    raise ArtifactError(
        f"{path}: tensor {name!r} does not fit",
        got=f"shape ({', '.join(map(str, got))})",
        expected=f"shape ({shown})",
        do="use it with the foundation, encoder and settings it was made with",
    )


def _refuse_non_finite(path: Path, name: str, tensor: Tensor, *, do: str) -> None:
    import torch

    if tensor.is_floating_point() or tensor.is_complex():
        # torch has no isfinite for the 8-bit floats
        values = tensor.float() if tensor.dtype.itemsize == 1 else tensor
        bad = int(tensor.numel() - torch.isfinite(values).sum())
        if bad:
            raise ArtifactError(
                f"{path}: tensor {name!r} holds NaN or infinity",
                got=f"{bad:,} of {tensor.numel():,} values",
                expected="finite values",
                do=do,
            )
