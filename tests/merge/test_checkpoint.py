from __future__ import annotations

import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from semi.errors import ArtifactError
from semi.merge import checkpoint
from semi.merge.checkpoint import Checkpoint
from tests.merge.conftest import Q, write_adapter, write_checkpoint

FLOATS = [torch.float32, torch.float16, torch.bfloat16]


def as_matrix(tensor: Tensor) -> Tensor:
    return tensor.float().reshape(tensor.shape[0] if tensor.ndim else 1, -1 if tensor.numel() else 0)


@settings(max_examples=40)
@given(
    shapes=st.dictionaries(st.text(min_size=1, max_size=5), st.lists(st.integers(1, 4), max_size=3), min_size=1),
    dtype=st.sampled_from(FLOATS),
    shards=st.integers(1, 3),
    data=st.data(),
)
def test_rows_are_those_of_the_whole_tensor(
    tmp_path_factory: pytest.TempPathFactory,
    shapes: dict[str, list[int]],
    dtype: torch.dtype,
    shards: int,
    data: st.DataObject,
) -> None:
    shapes.pop("__metadata__", None)
    tensors = {key: torch.randn(shape).to(dtype) for key, shape in shapes.items()}
    folder = write_checkpoint(tmp_path_factory.mktemp("model"), tensors, shards=min(shards, max(1, len(tensors))))
    with Checkpoint.open(folder) as model:
        assert model.keys == tuple(sorted(tensors))
        for key, tensor in tensors.items():
            expected = as_matrix(tensor)
            start, stop = sorted(data.draw(st.tuples(*[st.integers(0, len(expected))] * 2)))
            read = model.read(key, start, stop)
            assert read.dtype == torch.float32
            assert torch.equal(read, expected[start:stop])
            assert torch.equal(model.read(key), expected)
            assert model.info(key).shape == tuple(tensor.shape)
            into = torch.full_like(read, torch.nan)
            assert model.read(key, start, stop, out=into) is into
            assert torch.equal(into, read)


def test_an_empty_tensor_has_its_shape(tmp_path: Path) -> None:
    tensors = {"a": torch.empty(0, 3), "b": torch.empty(3, 0), "c": torch.ones(1)}
    with Checkpoint.open(write_checkpoint(tmp_path, tensors)) as model:
        assert model.read("a").shape == (0, 3)
        assert model.read("b", 1, 3).shape == (2, 0)
        assert list(model.raw("a")) == []


@pytest.mark.parametrize("dtype", [*FLOATS, torch.float64, torch.int64, torch.bool, torch.float8_e4m3fn], ids=str)
def test_bytes_of_any_type_come_in_small_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype
) -> None:
    monkeypatch.setattr(checkpoint, "_PIECE", 8)
    tensor = (3 * torch.rand(5, 3)).to(dtype)
    with Checkpoint.open(write_checkpoint(tmp_path, {"other": torch.ones(3), "it": tensor})) as model:
        pieces = list(model.raw("it"))
        assert b"".join(pieces) == bytes(tensor.view(torch.uint8).flatten().tolist())
        assert max(map(len, pieces)) <= 8
        if dtype in FLOATS:
            assert torch.equal(model.read("it"), tensor.float())


@given(start=st.integers(0, 96), stop=st.integers(0, 96))
def test_any_range_of_bytes_is_that_of_the_whole(
    start: int, stop: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = write_checkpoint(tmp_path_factory.mktemp("range"), {"it": torch.arange(24.0)})
    with Checkpoint.open(folder) as model:
        whole = b"".join(model.raw("it"))
        if start <= stop:
            assert b"".join(model.raw("it", start, stop)) == whole[start:stop]
            assert b"".join(model.raw("it", start)) == whole[start:]
        else:
            with pytest.raises(ArtifactError, match="has no such bytes"):
                model.raw("it", start, stop)


@pytest.mark.parametrize("dtype", [torch.float64, torch.int64, torch.bool], ids=str)
def test_what_is_no_float_to_merge_is_refused_by_name(tmp_path: Path, dtype: torch.dtype) -> None:
    folder = write_checkpoint(tmp_path, {"position_ids": torch.ones(2, 2)}, dtype=dtype)
    with Checkpoint.open(folder) as model, pytest.raises(ArtifactError, match="position_ids"):
        model.read("position_ids")


def test_a_prefix_is_taken_off_where_it_stands(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, {"llm.norm": torch.ones(1), "vision.norm": torch.ones(1)})
    with Checkpoint.open(folder, "llm.") as model:
        assert model.keys == ("norm", "vision.norm")
        assert model.info("norm").stored == "llm.norm"


def test_two_tensors_of_one_name_are_refused(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, {"llm.norm": torch.ones(1), "norm": torch.ones(1)})
    with pytest.raises(ArtifactError, match="two tensors are named 'norm'"):
        Checkpoint.open(folder, "llm.")


@pytest.mark.parametrize(
    ("config", "head", "tied"),
    [
        ({"tie_word_embeddings": True}, False, True),
        ({"tie_word_embeddings": True}, True, False),
        ({"tie_word_embeddings": False}, False, False),
        ({"tie_word_embeddings": False, "text_config": {"tie_word_embeddings": True}}, False, True),
        ({}, False, False),
        (None, False, False),
    ],
    ids=["tied", "stored all the same", "untied", "by its text_config", "unsaid", "no config"],
)
def test_tied_embeddings_are_a_fact_not_a_key(tmp_path: Path, config: object, head: bool, tied: bool) -> None:
    tensors = {"model.embed_tokens.weight": torch.ones(2, 2)} | ({"lm_head.weight": torch.ones(2, 2)} if head else {})
    with Checkpoint.open(write_checkpoint(tmp_path, tensors, config=config)) as model:  # type: ignore[arg-type]
        assert model.tied is tied
        assert ("lm_head.weight" in model.keys) is head


def test_threads_share_a_checkpoint(tmp_path: Path) -> None:
    tensors = {str(number): torch.full((50, 30), float(number)) for number in range(8)}
    with Checkpoint.open(write_checkpoint(tmp_path, tensors, shards=2)) as model, ThreadPoolExecutor(4) as pool:
        keys = [str(number % 8) for number in range(200)]
        assert all(torch.equal(read, tensors[key]) for key, read in zip(keys, pool.map(model.read, keys), strict=True))


def open_files() -> set[str]:
    links = (Path("/proc/self/fd") / name for name in os.listdir("/proc/self/fd"))
    return {os.readlink(link) for link in links if link.is_symlink()}


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs Linux's list of open files")
def test_no_file_stays_open(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "good", {"a": torch.ones(2), "b": torch.ones(2)}, shards=2)
    with Checkpoint.open(folder) as model:
        assert sum(name.startswith(str(folder)) for name in open_files()) == 2
    assert not any(name.startswith(str(folder)) for name in open_files())
    with pytest.raises(ArtifactError, match="is closed"):
        model.read("a")
    second = sorted(folder.glob("*.safetensors"))[1]
    second.write_bytes(second.read_bytes()[:-1])
    with pytest.raises(ArtifactError, match="truncated"):
        Checkpoint.open(folder)
    assert not any(name.startswith(str(folder)) for name in open_files())


def test_short_reads_are_completed(base_folder: Path, base: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    pread = os.pread
    with Checkpoint.open(base_folder) as model:
        monkeypatch.setattr(os, "pread", lambda handle, count, start: pread(handle, min(count, 5), start))
        assert torch.equal(model.read(Q), base[Q])


def test_a_file_that_shrinks_while_it_is_read_is_named(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, {"w": torch.ones(4, 4)})
    with Checkpoint.open(folder) as model:
        os.truncate(folder / "model.safetensors", 80)
        with pytest.raises(ArtifactError, match="become shorter"):
            model.read("w")


def test_rows_that_are_not_there_are_refused(base_folder: Path) -> None:
    with Checkpoint.open(base_folder) as model:
        for rows in ((-1, 2), (3, 2), (0, 9)):
            with pytest.raises(ArtifactError, match="no such rows"):
                model.read(Q, *rows)
        with pytest.raises(ArtifactError, match="no tensor 'q'"):
            model.read("q")


def no_file(folder: Path) -> None:
    (folder / "model.safetensors.index.json").unlink()


def missing_shard(folder: Path) -> None:
    (folder / "model-00002-of-00002.safetensors").unlink()


def edit_index(change: Callable[[dict[str, str]], object]) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        index = folder / "model.safetensors.index.json"
        content = json.loads(index.read_text())
        change(content["weight_map"])
        index.write_text(json.dumps(content))

    return edit


def twice(folder: Path) -> None:
    other = write_checkpoint(folder / "other", {"a": torch.ones(1)}) / "model.safetensors"
    other.replace(folder / "model-00002-of-00002.safetensors")


SHARDS = {
    "no model": (no_file, "holds no model"),
    "a missing shard": (missing_shard, "00002-of-00002"),
    "a key that no shard has": (edit_index(lambda m: m.update(z="model-00001-of-00002.safetensors")), "z is not in"),
    "a key in another shard": (edit_index(lambda m: m.update(a=m["b"])), "a is in model-00001"),
    "a key that the index lacks": (edit_index(lambda m: m.pop("a")), "a of model-00001.* is not in the index"),
    "a path": (edit_index(lambda m: m.update(a="../model-00001-of-00002.safetensors")), "not an index"),
    "an empty index": (edit_index(lambda m: m.clear()), "names files that are missing"),
    "a key in two shards": (twice, "two tensors are named 'a'"),
}


@pytest.mark.parametrize(("harm", "message"), SHARDS.values(), ids=SHARDS)
def test_shards_and_index_must_agree(tmp_path: Path, harm: Callable[[Path], None], message: str) -> None:
    folder = write_checkpoint(tmp_path, {key: torch.ones(1) for key in "abc"}, shards=2)
    harm(folder)
    with pytest.raises(ArtifactError, match=message):
        Checkpoint.open(folder)


def test_the_only_safetensors_file_is_the_model(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, {"a": torch.ones(1)})
    (folder / "model.safetensors").rename(folder / "weights.safetensors")
    with Checkpoint.open(folder) as model:
        assert model.keys == ("a",)


def test_an_adapter_is_no_model(tmp_path: Path) -> None:
    folder = write_adapter(tmp_path, {"q.lora_A.weight": torch.ones(2, 2)})
    with pytest.raises(ArtifactError, match="LoRA adapter") as caught:
        Checkpoint.open(folder)
    assert "adapter: lora" in str(caught.value)
