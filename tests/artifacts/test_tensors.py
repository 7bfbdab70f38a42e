from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from semi.artifacts import load_tensors, read_metadata, save_tensors
from semi.errors import ArtifactError

DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool]


@settings(max_examples=30)
@given(
    shapes=st.dictionaries(st.text(min_size=1, max_size=5), st.lists(st.integers(0, 4), max_size=3), max_size=4),
    dtype=st.sampled_from(DTYPES),
    metadata=st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=4),
)
def test_tensors_come_back_and_any_reader_agrees(
    tmp_path_factory: pytest.TempPathFactory, shapes: dict[str, list[int]], dtype: torch.dtype, metadata: dict[str, str]
) -> None:
    path = tmp_path_factory.getbasetemp() / "tensors.safetensors"
    shapes.pop("__metadata__", None)
    tensors = {name: (10 * torch.rand(shape)).to(dtype) for name, shape in shapes.items()}
    save_tensors(path, tensors, metadata)
    for read in (load_tensors(path, {name: tuple(shape) for name, shape in shapes.items()}), load_file(path)):
        assert set(read) == set(tensors)
        assert all(read[name].dtype == dtype and torch.equal(read[name], tensors[name]) for name in tensors)
    assert read_metadata(path) == metadata


def test_the_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    tensors = {"b": torch.arange(6.0).reshape(2, 3), "a": torch.ones(1, dtype=torch.int64)}
    metadata = {str(number): "x" for number in range(20)}
    digests = set()
    for number in range(5):
        save_tensors(tmp_path / "t", dict(sorted(tensors.items(), reverse=number % 2 == 0)), metadata)
        digests.add(hashlib.sha256((tmp_path / "t").read_bytes()).hexdigest())
    assert len(digests) == 1


def test_views_and_shared_memory_are_saved_as_what_they_show(tmp_path: Path) -> None:
    whole = torch.arange(6.0).reshape(2, 3).requires_grad_()
    save_tensors(tmp_path / "t", {"whole": whole, "turned": whole.T, "part": whole[:, 1]})
    read = load_tensors(tmp_path / "t", {"whole": (2, 3), "turned": (3, 2), "part": (None,)})
    assert torch.equal(read["turned"], whole.T)
    assert torch.equal(read["part"], whole[:, 1])
    read["part"].add_(1)  # what was loaded can be trained on


@pytest.mark.parametrize("kept", [0, 4, 8, 40, -1], ids=["nothing", "half a length", "length", "half a header", "most"])
def test_a_truncated_file_is_named(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "cut.safetensors"
    save_tensors(path, {"w": torch.ones(4, 4)})
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ArtifactError, match=r"cut\.safetensors is not a whole safetensors file"):
        load_tensors(path)


@pytest.mark.parametrize(
    "data",
    [b"\xff" * 100, b"PK\x03\x04" + bytes(50), (2).to_bytes(8, "little") + b"[]", bytes(8)],
    ids=["huge length", "a zip", "a list", "zeros"],
)
def test_another_format_is_named(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "other.safetensors"
    path.write_bytes(data)
    with pytest.raises(ArtifactError, match=r"other\.safetensors"):
        load_tensors(path)
    with pytest.raises(ArtifactError, match=r"other\.safetensors"):
        read_metadata(path)


@pytest.mark.parametrize(
    ("shapes", "said"),
    [
        ({"w": (2, 3), "b": (3,)}, "lacks b"),
        ({}, "has w"),
        ({"w": (3, 2)}, r"got: shape \(2, 3\)\n  expected: shape \(3, 2\)"),
        ({"w": (2, None, None)}, r"expected: shape \(2, any, any\)"),
        ({"w": (6,)}, "'w' does not fit"),
    ],
)
def test_other_names_and_shapes_are_refused(
    tmp_path: Path, shapes: dict[str, tuple[int | None, ...]], said: str
) -> None:
    save_tensors(tmp_path / "w.safetensors", {"w": torch.ones(2, 3)})
    with pytest.raises(ArtifactError, match=said) as caught:
        load_tensors(tmp_path / "w.safetensors", shapes)
    assert "w.safetensors" in caught.value.what
    assert caught.value.do


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float8_e5m2])
def test_what_is_not_finite_is_neither_loaded_nor_saved(tmp_path: Path, value: float, dtype: torch.dtype) -> None:
    tensors = {"fine": torch.ones(2), "bad": torch.tensor([1.0, value]).to(dtype)}
    save_file(tensors, tmp_path / "bad.safetensors")
    with pytest.raises(ArtifactError, match="'bad' holds NaN or infinity"):
        load_tensors(tmp_path / "bad.safetensors")
    with pytest.raises(ArtifactError, match="'bad' holds NaN or infinity"):
        save_tensors(tmp_path / "new.safetensors", tensors)
    assert not (tmp_path / "new.safetensors").exists()


def test_a_sparse_tensor_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="'s' is not dense"):
        save_tensors(tmp_path / "s", {"s": torch.eye(2).to_sparse()})


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"none\.safetensors does not exist"):
        load_tensors(tmp_path / "none.safetensors")
