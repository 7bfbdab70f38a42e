"""The weights in an ONNX file, without the packages onnx and protobuf: two files of known layout are read here.

Protocol Buffers: a message is a sequence of fields, each a tag (number << 3 | wire type) and a value.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from semi.errors import ArtifactError

# Field numbers of onnx.proto3.
_GRAPH = 7  # of ModelProto
_INITIALIZER = 5  # of GraphProto
_DIMS, _TYPE, _NAME, _RAW = 1, 2, 8, 9  # of TensorProto
_FLOAT = 1
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def read_initializers(path: Path) -> dict[str, np.ndarray]:
    """The float32 initialisers of an ONNX file by name.

    Raises:
        ArtifactError: the file cannot be read so.
    """
    tensors: dict[str, np.ndarray] = {}
    try:
        for number, graph in _fields(path.read_bytes()):
            if number == _GRAPH and isinstance(graph, bytes):
                for kind, initializer in _fields(graph):
                    if kind == _INITIALIZER and isinstance(initializer, bytes):
                        tensors.update(_tensor(initializer))
    except (OSError, IndexError, ValueError) as error:
        raise ArtifactError(
            f"{path} cannot be read as ONNX", got=f"{type(error).__name__}: {error}", do="fetch it again"
        ) from error
    return tensors


def _tensor(message: bytes) -> dict[str, np.ndarray]:
    """Name and values of a TensorProto; nothing where it is not float32 in raw form."""
    dims: list[int] = []
    name, kind, raw = "", 0, b""
    for number, value in _fields(message):
        if number == _DIMS:
            dims += [value] if isinstance(value, int) else _varints(value)
        elif number == _TYPE and isinstance(value, int):
            kind = value
        elif number == _NAME and isinstance(value, bytes):
            name = value.decode()
        elif number == _RAW and isinstance(value, bytes):
            raw = value
    return {name: np.frombuffer(raw, "<f4").reshape(dims).copy()} if kind == _FLOAT and raw else {}


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """(number, value) of the fields of a message."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        number, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            value, at = _varint(message, at)
            yield number, value
            continue
        if wire not in (_FIXED64, _BYTES, _FIXED32):
            raise ValueError(f"wire type {wire} at byte {at}")
        size, at = _varint(message, at) if wire == _BYTES else (8 if wire == _FIXED64 else 4, at)
        if at + size > len(message):
            raise ValueError(f"cut off at byte {at}")
        yield number, message[at : at + size]
        at += size


def _varints(packed: bytes) -> list[int]:
    values, at = [], 0
    while at < len(packed):
        value, at = _varint(packed, at)
        values.append(value)
    return values


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """A number in groups of seven bits, and where the next thing begins."""
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
