from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from semi.assets.onnx import read_onnx
from semi.errors import ArtifactError

FLOAT, INT64 = 1, 7


def varint(value: int) -> bytes:
    head = bytearray()
    while value >= 0x80:
        head.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*head, value])


def field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def tensor(name: str, values: np.ndarray, *, packed: bool = True, kind: int = FLOAT) -> bytes:
    """TensorProto: dims, data_type, name, raw_data."""
    shape = values.shape
    dims = field(1, b"".join(map(varint, shape))) if packed else b"".join(field(1, d) for d in shape)
    return dims + field(2, kind) + field(8, name.encode()) + field(9, values.tobytes())


def model(*fields_of_graph: bytes) -> bytes:
    """ModelProto: an IR version, then the graph."""
    return field(1, 8) + field(7, b"".join(fields_of_graph))


def initializer(message: bytes) -> bytes:
    return field(5, message)


def constant(output: str, message: bytes) -> bytes:
    """A node that makes a constant: its output, and an attribute that holds the tensor."""
    return field(1, field(2, output.encode()) + field(5, field(1, b"value") + field(5, message)))


@given(arrays("<f4", array_shapes(max_dims=2, max_side=200)), st.booleans())
def test_what_was_written_is_read(tmp_path_factory: pytest.TempPathFactory, values: np.ndarray, packed: bool) -> None:
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    whole = tensor("W", values, packed=packed)
    path.write_bytes(
        model(initializer(whole), constant("/conv/W", whole), initializer(tensor("n", values, kind=INT64)))
    )
    found = read_onnx(path)
    assert set(found) == {"W", "/conv/W"}  # what is not float32 is no weight
    for array in found.values():
        np.testing.assert_array_equal(array, values)


def test_every_cut_is_noticed(tmp_path: Path) -> None:
    path, data = tmp_path / "model.onnx", model(initializer(tensor("W", np.ones((2, 3), "<f4"))))
    for length in range(len(data)):
        path.write_bytes(data[:length])
        with pytest.raises(ArtifactError, match=r"model\.onnx cannot be read as ONNX"):
            read_onnx(path)
    with pytest.raises(ArtifactError, match=r"gone\.onnx"):
        read_onnx(tmp_path / "gone.onnx")
