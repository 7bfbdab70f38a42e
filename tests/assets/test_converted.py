"""Checkpoints of PyTorch: converted once, to the same tensors, and never executed."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from semi.artifacts import load_tensors
from semi.assets import as_safetensors
from semi.errors import ArtifactError, OutputError

TENSORS = {
    "weight": torch.arange(6.0).reshape(2, 3).T,  # not contiguous
    "half": torch.ones(2, dtype=torch.bfloat16),
    "count": torch.tensor(7),
}


class Explosive:
    def __reduce__(self) -> Any:
        return (Path("exploded").touch, ())


def saved(path: Path, content: Any) -> Path:
    torch.save(content, path)
    return path


def same(file: Path, tensors: dict[str, Tensor]) -> bool:
    read = load_tensors(file)
    return set(read) == set(tensors) and all(
        t.dtype == read[name].dtype and torch.equal(t, read[name]) for name, t in tensors.items()
    )


def left_behind(cache: Path) -> list[Path]:
    return [path for path in cache.rglob("*") if path.is_file()]


def test_the_tensors_are_the_same(tmp_path: Path, cache: Path) -> None:
    converted = as_safetensors(saved(tmp_path / "net.pt", TENSORS))
    assert same(converted, TENSORS)
    assert left_behind(cache) == [converted]


def test_a_file_is_converted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = saved(tmp_path / "net.pt", TENSORS)
    converted = as_safetensors(file)
    monkeypatch.setattr(torch, "load", None)
    assert as_safetensors(file) == converted
    (tmp_path / "elsewhere").mkdir()
    assert as_safetensors(file.rename(tmp_path / "elsewhere" / "net.pt")) == converted


def test_another_content_is_another_file(tmp_path: Path) -> None:
    first = as_safetensors(saved(tmp_path / "net.pt", TENSORS))
    changed = TENSORS | {"half": torch.zeros(2)}
    second = as_safetensors(saved(tmp_path / "net.pt", changed))
    assert first != second
    assert same(first, TENSORS)
    assert same(second, changed)


def test_the_tensors_can_be_an_entry(tmp_path: Path) -> None:
    ours, theirs = TENSORS, {"other": torch.ones(1)}
    file = saved(tmp_path / "net.pt", {"epoch": 3, "state_dict": ours, "ema": theirs})
    assert same(as_safetensors(file, entry="state_dict"), ours)
    assert same(as_safetensors(file, entry="ema"), theirs)
    for entry in (None, "epoch", "model"):
        with pytest.raises(ArtifactError, match=r"net\.pt does not hold named tensors") as refused:
            as_safetensors(file, entry=entry)
        assert "state_dict" in str(refused.value)


def test_nothing_in_a_checkpoint_is_executed(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ArtifactError, match=r"net\.pt cannot be read"):
        as_safetensors(saved(tmp_path / "net.pt", TENSORS | {"bang": Explosive()}))
    assert not (tmp_path / "exploded").exists()
    assert not left_behind(cache)


def _whole() -> bytes:
    buffer = io.BytesIO()
    torch.save(TENSORS, buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", _whole()[:-30]], ids=["empty", "text", "truncated"])
def test_damaged_files_are_refused_by_name(tmp_path: Path, cache: Path, content: bytes) -> None:
    (tmp_path / "net.pt").write_bytes(content)
    with pytest.raises(ArtifactError, match=r"net\.pt cannot be read"):
        as_safetensors(tmp_path / "net.pt")
    assert not left_behind(cache)


def test_a_missing_file_and_other_contents_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"no checkpoint .*net\.pt"):
        as_safetensors(tmp_path / "net.pt")
    with pytest.raises(ArtifactError, match="does not hold named tensors"):
        as_safetensors(saved(tmp_path / "net.pt", [1, 2]), entry="state_dict")


def test_a_cache_that_cannot_be_written_to_is_named(tmp_path: Path, cache: Path) -> None:
    file = saved(tmp_path / "net.pt", TENSORS)
    cache.write_text("a file where the folder should be")
    with pytest.raises(OutputError, match=str(cache)):
        as_safetensors(file)
