"""The weights in an ONNX file, for encoders that have a forward pass of their own: no onnx, protobuf or onnxruntime.

Protocol Buffers: a message is a sequence of fields, each a tag (number << 3 | wire type) and a value.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from semi.errors import ArtifactError

# Field numbers of onnx.proto3.
_GRAPH = 7  # of ModelProto
_NODE, _INITIALIZER = 1, 5  # of GraphProto
_OUTPUT, _ATTRIBUTE = 2, 5  # of NodeProto
_TENSOR = 5  # of AttributeProto
_DIMS, _TYPE, _NAME, _RAW = 1, 2, 8, 9  # of TensorProto
_FLOAT = 1
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def read_onnx(path: Path) -> dict[str, np.ndarray]:
    """The float32 tensors of an ONNX file: initialisers, and constants under the name of their node's output.

    Raises:
        ArtifactError: the file cannot be read so.
    """
    tensors: dict[str, np.ndarray] = {}
    try:
        graph = next(value for number, value in _fields(path.read_bytes()) if number == _GRAPH)
        for number, value in _fields(graph):
            if number == _INITIALIZER:
                name, tensor = _tensor(value)
                tensors |= {name: tensor} if tensor is not None else {}
            elif number == _NODE:
                fields = list(_fields(value))
                outputs = [bytes(v).decode() for n, v in fields if n == _OUTPUT]
                for constant in (v for n, v in fields if n == _ATTRIBUTE):
                    for inner in (v for n, v in _fields(constant) if n == _TENSOR):
                        tensor = _tensor(inner)[1]
                        tensors |= {outputs[0]: tensor} if tensor is not None else {}
    except (OSError, StopIteration, IndexError, ValueError) as error:
        raise ArtifactError(
            f"{path} cannot be read as ONNX", got=f"{type(error).__name__}: {error}", do="fetch it again"
        ) from error
    return tensors


def _tensor(message: bytes) -> tuple[str, np.ndarray | None]:
    """Name and values of a TensorProto; None: not float32."""
    dims: list[int] = []
    name, kind, raw = "", 0, b""
    for number, value in _fields(message):
        if number == _DIMS:
            dims += [int.from_bytes(value, "little")] if len(value) == 8 else list(_varints(value))
        elif number == _TYPE:
            kind = int.from_bytes(value, "little")
        elif number == _NAME:
            name = value.decode()
        elif number == _RAW:
            raw = value
    return name, np.frombuffer(raw, "<f4").reshape(dims).copy() if kind == _FLOAT and raw else None


def _fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """(number, value) of the fields of a message; a varint comes as 8 little-endian bytes."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        wire = tag & 7
        if wire == _VARINT:
            value, at = _varint(message, at)
            yield tag >> 3, (value & (2**64 - 1)).to_bytes(8, "little")
            continue
        if wire not in (_FIXED64, _BYTES, _FIXED32):
            raise ValueError(f"wire type {wire} at byte {at}")
        size, at = _varint(message, at) if wire == _BYTES else (8 if wire == _FIXED64 else 4, at)
        if at + size > len(message):
            raise ValueError(f"cut off at byte {at}")
        yield tag >> 3, message[at : at + size]
        at += size


def _varints(packed: bytes) -> Iterator[int]:
    at = 0
    while at < len(packed):
        value, at = _varint(packed, at)
        yield value


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """A number in groups of seven bits, and where the next thing begins."""
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
