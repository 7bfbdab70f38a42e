"""Files that grow: any interleaving and any interruption gives the tensors that were written, aligned and whole."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor

from semi.errors import OutputError
from semi.merge.checkpoint import Checkpoint
from semi.merge.writer import Source, TensorFile, in_shards, write_tensors


def source(name: str, tensor: Tensor, dtype: str) -> Source:
    data = tensor.contiguous().view(torch.uint8).numpy().tobytes()
    return Source(name, dtype, tuple(tensor.shape), len(data), lambda: iter([data[:3], data[3:]]))


def test_what_is_written_is_what_the_safetensors_library_reads(tmp_path: Path) -> None:
    tensors = {"odd": torch.arange(3, dtype=torch.uint8), "half": torch.randn(5).bfloat16(), "wide": torch.randn(2, 3)}
    types = {"odd": "U8", "half": "BF16", "wide": "F32"}
    write_tensors(tmp_path / "x.safetensors", [source(name, t, types[name]) for name, t in tensors.items()])
    read = load_file(tmp_path / "x.safetensors")
    assert read.keys() == tensors.keys()
    assert all(torch.equal(read[name], tensor) for name, tensor in tensors.items())
    assert [path.name for path in tmp_path.iterdir()] == ["x.safetensors"]


def test_each_tensor_is_aligned_to_its_type(tmp_path: Path) -> None:
    sources = [source("a", torch.ones(3, dtype=torch.uint8), "U8"), source("b", torch.ones(3).half(), "F16")]
    write_tensors(tmp_path / "x.safetensors", [*sources, source("c", torch.ones(1), "F32")])
    with Checkpoint.open(tmp_path) as checkpoint:
        assert checkpoint.info("c").offset % 8 == 0
        assert checkpoint.info("b").offset % 2 == 0


@given(sizes=st.lists(st.integers(0, 20)), most=st.integers(1, 30))
def test_shards_hold_all_tensors_in_order_and_are_small(sizes: list[int], most: int) -> None:
    sources = [Source(str(i), "U8", (n,), n, lambda: ()) for i, n in enumerate(sizes)]
    shards = in_shards(sources, most)
    assert [tensor for shard in shards for tensor in shard] == sources
    for shard in shards:
        assert len(shard) == 1 or sum(tensor.nbytes for tensor in shard) <= most


Step = tuple[list[tuple[str, int]], bool]
STEPS = st.lists(
    st.tuples(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 9)), max_size=6), st.booleans()), max_size=4
)


@settings(max_examples=40)
@given(steps=STEPS, most=st.integers(1, 40))
def test_tensors_that_grow_side_by_side_end_whole(
    steps: list[Step], most: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("grow")
    wanted: dict[str, bytes] = {}
    records: list[dict[str, Any]] = []
    file = TensorFile(folder, "x", most)
    for step, (pieces, interrupted) in enumerate(steps):
        grown = {f"{step}{part}": b"" for part in "abc"}
        for number, (part, length) in enumerate(pieces):
            file.append(f"{step}{part}", bytes([number]) * length)
            grown[f"{step}{part}"] += bytes([number]) * length
        if interrupted:
            # What came after the last record is forgotten, and written once more.
            file.close()
            file = TensorFile(folder, "x", most)
            file.resume(json.loads(json.dumps(records)))
            for name, whole in grown.items():
                file.append(name, whole)
        file.drop(f"{step}c")
        for name in (f"{step}a", f"{step}b"):
            if name in [f"{step}{part}" for part, _ in pieces]:
                assert b"".join(file.segments(name)) == grown[name]
            file.end(name, "U8", (file.length(name),))
            wanted[name] = grown[name]
        records.append(file.record())
    names = file.finish()
    assert sorted(path.name for path in folder.iterdir()) == names
    with Checkpoint([folder / name for name in names]) as checkpoint:
        assert {key: b"".join(checkpoint.raw(key)) for key in checkpoint.keys} == wanted


@pytest.mark.parametrize("killed", range(5))
def test_finishing_goes_on_where_it_was_interrupted(
    killed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with TensorFile(tmp_path, "x", 4) as file:
        for name in "abcd":
            file.append(name + "1", name.encode())
            file.append(name + "2", name.encode() * 3)
        for name in "abcd":
            file.end(name + "2", "U8", (3,))
            file.end(name + "1", "U8", (1,))
        records = [file.record()]
        file.sync()
        replaces = 0
        replace = os.replace

        def counted(*arguments: Any) -> None:
            nonlocal replaces
            if replaces == killed:
                raise KeyboardInterrupt
            replaces += 1
            replace(*arguments)

        monkeypatch.setattr(os, "replace", counted)
        if killed < 4:
            with pytest.raises(KeyboardInterrupt):
                file.finish()
        else:
            file.finish()
    monkeypatch.undo()
    with TensorFile(tmp_path, "x", 4) as again:
        again.resume(records)
        names = again.finish()
    assert names == [f"x-0000{number}.safetensors" for number in (1, 2, 3, 4)]
    with Checkpoint([tmp_path / name for name in names]) as checkpoint:
        assert {key: b"".join(checkpoint.raw(key)).decode() for key in checkpoint.keys} == {
            f"{name}{times}": name * (1 if times == 1 else 3) for name in "abcd" for times in (1, 2)
        }


def test_a_full_disk_is_an_error_that_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with TensorFile(tmp_path, "x", None) as file:
        file.append("a", b"abc")
        with pytest.raises(OutputError, match="disk is full"):
            file.sync()
    with pytest.raises(OutputError, match="disk is full"):
        write_tensors(tmp_path / "y.safetensors", [source("a", torch.ones(2), "F32")])
    assert not list(tmp_path.glob(".*"))


def test_a_part_file_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"x\.part could not be written"):
        TensorFile(tmp_path / "nowhere", "x", None)
