from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from semi.errors import ArtifactError
from semi.merge.checkpoint import Checkpoint

GOOD = {
    "a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
    "b": {"dtype": "BF16", "shape": [4], "data_offsets": [24, 32]},
}


def write(path: Path, header: Any, size: int = 32) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(size))
    return path


def changed(**fields: Any) -> dict[str, Any]:
    return GOOD | {"b": GOOD["b"] | fields}


def test_what_the_library_writes_is_read(tmp_path: Path) -> None:
    file = tmp_path / "t"
    file.write_bytes(save({"w": torch.arange(6.0).view(2, 3)}, {"format": "pt"}))
    with Checkpoint([file]) as tensors:
        assert tensors.keys == ("w",)
        assert torch.equal(tensors.read("w", 1, 2), torch.tensor([[3.0, 4.0, 5.0]]))


CASES: dict[str, tuple[Any, int, str]] = {
    "not JSON": (b"{", 32, "damaged header"),
    "not text": (b"\xff\xfe{}", 32, "damaged header"),
    "not a mapping": ([1], 0, "damaged header"),
    "nested too deeply": (b"[" * 100_000, 0, "damaged header"),
    "a name twice": (json.dumps(GOOD)[:-1].encode() + b"," + json.dumps(GOOD)[1:].encode(), 32, "twice"),
    "no entry": (GOOD | {"b": 3}, 32, "'b' has an unknown data type"),
    "an unknown type": (changed(dtype="F128"), 32, "'b' has an unknown data type"),
    "a type that is a list": (changed(dtype=["F32"]), 32, "'b' has an unknown data type"),
    "a negative size": (changed(shape=[-4]), 32, "'b' has no shape"),
    "a size that is no number": (changed(shape=["4"]), 32, "'b' has no shape"),
    "a size that is a truth value": (changed(shape=[True, 4]), 32, "'b' has no shape"),
    "a range of three": (changed(data_offsets=[24, 32, 40]), 32, "'b' has no shape"),
    "a range backwards": (changed(data_offsets=[32, 24]), 32, "'b' does not fit its shape"),
    "a shape that is too large": (changed(shape=[5]), 32, "'b' does not fit its shape"),
    "overlapping ranges": (changed(data_offsets=[20, 28]), 32, "'b' overlaps"),
    "a hole": (changed(data_offsets=[28, 36]), 36, "'b' leaves a hole"),
    "a range outside the file": (GOOD, 31, "truncated"),
    "bytes of no tensor": (GOOD, 33, "belong to no tensor"),
}


@pytest.mark.parametrize(("header", "size", "message"), CASES.values(), ids=CASES)
def test_a_damaged_file_is_named(tmp_path: Path, header: Any, size: int, message: str) -> None:
    file = write(tmp_path / "broken.safetensors", header, size)
    with pytest.raises(ArtifactError, match="broken") as caught:
        Checkpoint([file])
    assert message in str(caught.value)


@pytest.mark.parametrize("length", [1 << 62, 100_000_001, 33], ids=["absurd", "above the limit", "past the end"])
def test_a_header_longer_than_the_file_is_refused_unread(tmp_path: Path, length: int) -> None:
    file = tmp_path / "t"
    file.write_bytes(length.to_bytes(8, "little") + b"{}" + bytes(30))
    with pytest.raises(ArtifactError, match="truncated"):
        Checkpoint([file])


def test_a_folder_or_nothing_in_the_place_of_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for name in ("folder", "nothing"):
        with pytest.raises(ArtifactError, match=name):
            Checkpoint([tmp_path / name])


@settings(max_examples=100)
@given(cut=st.integers(0, 200), place=st.integers(0, 199), value=st.integers(0, 255))
def test_any_damage_is_refused_or_harmless(
    tmp_path_factory: pytest.TempPathFactory, cut: int, place: int, value: int
) -> None:
    whole = bytearray(save({"a": torch.ones(3, 3), "b": torch.ones(2, dtype=torch.bfloat16)}))
    damaged = whole[:cut] if cut < len(whole) else whole
    if place < len(damaged):
        damaged[place] = value
    file = tmp_path_factory.getbasetemp() / "damaged"
    file.write_bytes(damaged)
    try:
        tensors = Checkpoint([file])
    except ArtifactError:
        return
    with tensors:
        assert cut >= len(whole)
        assert sum(tensors.info(key).nbytes for key in tensors.keys) == 40
