"""The header of a safetensors file, checked whole: names, data types, shapes and byte ranges."""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from semi.errors import ArtifactError

FLOATS = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
"""What can be merged: each is exact in float32."""

# Every type of safetensors 0.8, so that encoders of any kind can be copied.
_BITS = (
    {"F64": 64, "I64": 64, "U64": 64, "C64": 64, "F32": 32, "I32": 32, "U32": 32, "F16": 16, "BF16": 16, "I16": 16}
    | {"U16": 16, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E5M2FNUZ": 8, "F8_E4M3FNUZ": 8, "F8_E8M0": 8, "I8": 8, "U8": 8}
    | {"BOOL": 8, "F6_E2M3": 6, "F6_E3M2": 6, "F4": 4}
)
_LONGEST = 100_000_000
"""Bytes of a header that the safetensors library accepts."""

_AGAIN = "fetch or save the file again: it is damaged, or not a whole safetensors file"


@dataclass(frozen=True)
class TensorInfo:
    """A tensor in a file.

    Attributes:
        key: its name without the model's prefix.
        file: where it lies.
        dtype: as safetensors writes it: F32, BF16, ...
        shape: its sizes.
        offset: the file's byte at which it begins.
        nbytes: its size in the file, in bytes.
        stored: its name in the file.
    """

    key: str
    file: Path
    dtype: str
    shape: tuple[int, ...]
    offset: int
    nbytes: int
    stored: str

    @property
    def rows(self) -> int:
        """Rows of the tensor seen as a matrix; 1 for a scalar."""
        return self.shape[0] if self.shape else 1

    @property
    def columns(self) -> int:
        """Columns of the tensor seen as (shape[0], -1); 1 for a vector."""
        return math.prod(self.shape[1:])


def itemsize(dtype: str) -> int:
    """Whole bytes of an element; 0 for types of fewer than 8 bits."""
    return _BITS[dtype] // 8


def read_header(handle: int, file: Path, prefix: str = "") -> list[TensorInfo]:
    """The tensors of an open safetensors file, in the order of their bytes.

    Args:
        handle: file descriptor; its position is neither used nor moved.
        file: its name, for `TensorInfo` and messages.
        prefix: taken off the keys that begin with it.

    Raises:
        ArtifactError: the header is not one, or tensors do not fill the rest of the file, each byte once.
    """
    size = os.fstat(handle).st_size
    length = int.from_bytes(_bytes(handle, file, 8, 0), "little")
    if size < 8 or length > min(size - 8, _LONGEST):
        raise ArtifactError(
            f"{file} is truncated, or no safetensors file",
            got=f"{size:,} bytes" + (f" and a header of {length:,}" if size >= 8 else ""),
            do=_AGAIN,
        )
    try:
        header = json.loads(_bytes(handle, file, length, 8), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{file} has a damaged header", got=error, do=_AGAIN) from error
    if not isinstance(header, dict):
        raise ArtifactError(f"{file} has a damaged header", got=type(header).__name__, expected="a mapping", do=_AGAIN)
    header.pop("__metadata__", None)
    infos = [_info(file, name, entry, 8 + length, prefix) for name, entry in header.items()]
    infos.sort(key=lambda info: (info.offset, info.nbytes))
    _require_filled(infos, file, 8 + length, size)
    return infos


def _bytes(handle: int, file: Path, count: int, start: int) -> bytes:
    try:
        return os.pread(handle, count, start)
    except OSError as error:
        raise ArtifactError(f"{file} cannot be read", got=error.strerror, do="check the name") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """JSON keeps the last of two equal names; here none may be lost."""
    names = dict(pairs)
    if len(names) < len(pairs):
        raise ValueError("a name stands there twice")
    return names


def _info(file: Path, name: str, entry: Any, data: int, prefix: str) -> TensorInfo:
    entry = entry if isinstance(entry, dict) else {}
    dtype, shape, offsets = (entry.get(field) for field in ("dtype", "shape", "data_offsets"))
    if not isinstance(dtype, str) or dtype not in _BITS:
        raise ArtifactError(
            f"{file}: tensor {name!r} has an unknown data type", got=dtype, expected=", ".join(_BITS), do=_AGAIN
        )
    if not _sizes(shape) or not _sizes(offsets) or len(offsets) != 2:
        raise ArtifactError(f"{file}: tensor {name!r} has no shape and byte range", got=entry, do=_AGAIN)
    nbytes = offsets[1] - offsets[0]
    if nbytes * 8 != math.prod(shape) * _BITS[dtype]:
        raise ArtifactError(
            f"{file}: the byte range of tensor {name!r} does not fit its shape",
            got=f"{nbytes:,} bytes",
            expected=f"{dtype} of shape {tuple(shape)}",
            do=_AGAIN,
        )
    return TensorInfo(name.removeprefix(prefix), file, dtype, tuple(shape), data + offsets[0], nbytes, name)


def _sizes(value: Any) -> bool:
    # A bool is an int, but no size.
    return isinstance(value, list) and all(type(size) is int and size >= 0 for size in value)


def _require_filled(infos: list[TensorInfo], file: Path, start: int, size: int) -> None:
    """Byte ranges follow one another from the header's end to the file's, as the format has it."""
    for info in infos:
        if info.offset != start:
            fault = "overlaps the one before it" if info.offset < start else "leaves a hole before it"
            raise ArtifactError(
                f"{file}: tensor {info.stored!r} {fault}",
                got=f"byte {info.offset:,}",
                expected=f"byte {start:,}",
                do=_AGAIN,
            )
        start += info.nbytes
    if start != size:
        raise ArtifactError(
            f"{file} is truncated" if start > size else f"{file} has bytes that belong to no tensor",
            got=f"{size:,} bytes",
            expected=f"{start:,} bytes",
            do=_AGAIN,
        )
