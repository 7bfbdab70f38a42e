from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

from semi.artifacts import read_manifest
from semi.errors import ArtifactError, InputError, OutputError
from semi.merge import export as module
from semi.merge.artifact import Artifact
from semi.merge.checkpoint import Checkpoint
from semi.merge.export import export
from semi.merge.origin import open_base
from semi.merge.restore import restore
from tests.merge.conftest import flip
from tests.merge.llamas import EMBEDDINGS, NORM, TOWER, Merged, Q, merge_llamas

Write = Callable[..., Path]


@pytest.fixture(scope="module")
def merged(tmp_path_factory: pytest.TempPathFactory, write_lm: Write) -> Merged:
    return merge_llamas(tmp_path_factory.mktemp("merge"), write_lm)


def exported(merged: Merged, modality: str, out: Path, **how: object) -> dict[str, Tensor]:
    with merged.open() as artifact:
        written = export(artifact, modality, out, **how)  # type: ignore[arg-type]
    tensors = {key: tensor for file in out.glob("*.safetensors") for key, tensor in load_file(file).items()}
    assert len(tensors) == written.tensors
    assert sum(tensor.nbytes for tensor in tensors.values()) == written.nbytes
    return tensors


def restored(merged: Merged, model: str) -> dict[str, Tensor]:
    """Merged tensors by the base's keys."""
    with merged.open() as artifact, open_base(artifact) as base:
        return {
            entry.key: torch.cat([rows for _, rows in restore(artifact, base, model, entry.key)])
            for entry in artifact.of("merged", "rows")
        }


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
def test_a_full_model_loads_with_transformers(tmp_path: Path, write_lm: Write, tied: bool) -> None:
    merged = merge_llamas(tmp_path, write_lm, tied=tied)
    tensors = exported(merged, "text", out := tmp_path / "out")
    expected = restored(merged, "text") | {NORM: merged.tensors["text"][NORM]}
    model, report = AutoModelForCausalLM.from_pretrained(out, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    for key, tensor in expected.items():
        assert torch.equal(tensors[key], tensor)
        assert torch.equal(model.get_parameter(key), tensor)
    assert ("lm_head.weight" in tensors) is not tied
    assert AutoTokenizer.from_pretrained(out).encode("a red cat")
    assert model(torch.tensor([[1, 2, 3]])).logits.isfinite().all()


def test_a_multimodal_model_keeps_its_names_encoders_rows_and_files(tmp_path: Path, merged: Merged) -> None:
    tensors = exported(merged, "vision", out := tmp_path / "out")
    assert set(tensors) == {f"language_model.{key}" for key in merged.tensors["vision"]} | set(TOWER)
    for key, tensor in TOWER.items():
        assert torch.equal(tensors[key], tensor)
    embeddings = tensors[f"language_model.{EMBEDDINGS}"]
    assert torch.equal(embeddings[300:], merged.tensors["vision"][EMBEDDINGS][300:])
    assert torch.equal(embeddings[:300], restored(merged, "vision")[EMBEDDINGS])
    original = merged.folder.parent / "vision"
    for name in ("config.json", "tokenizer.json"):
        assert (out / name).read_bytes() == (original / name).read_bytes()


def test_an_adapter_becomes_a_whole_model(tmp_path: Path, merged: Merged) -> None:
    tensors = exported(merged, "lora", out := tmp_path / "out")
    assert not (out / "adapter_config.json").exists()
    model = AutoModelForCausalLM.from_pretrained(out)
    assert torch.equal(model.get_parameter(Q), restored(merged, "lora")[Q])
    assert torch.equal(tensors[NORM], load_file(merged.base / "model.safetensors")[NORM])
    assert json.loads((out / "config.json").read_text()) == json.loads((merged.base / "config.json").read_text())


def test_shards_and_their_index(tmp_path: Path, merged: Merged) -> None:
    tensors = exported(merged, "text", out := tmp_path / "out", shard=20_000)
    index = json.loads((out / "model.safetensors.index.json").read_text())
    assert set(index["weight_map"]) == set(tensors)
    assert index["metadata"]["total_size"] == sum(tensor.nbytes for tensor in tensors.values())
    files = sorted(out.glob("*.safetensors"))
    assert [file.name for file in files] == [
        f"model-{i:05d}-of-{len(files):05d}.safetensors" for i in range(1, 1 + len(files))
    ]
    assert len(files) > 2
    for file in files:
        with safe_open(file, "pt") as opened:
            assert opened.metadata() == {"format": "pt"}
            assert {index["weight_map"][key] for key in load_file(file)} == {file.name}
    with Checkpoint.open(out) as checkpoint:
        assert set(checkpoint.keys) == set(tensors)
    AutoModelForCausalLM.from_pretrained(out)


def test_a_model_in_16_bits_stays_in_16_bits(tmp_path: Path, write_lm: Write) -> None:
    merged = merge_llamas(tmp_path, write_lm, method="optimal", dtype=torch.bfloat16)
    tensors = exported(merged, "text", tmp_path / "out")
    assert {tensor.dtype for tensor in tensors.values()} == {torch.bfloat16}


def test_an_adapter_with_tokens_of_its_own_says_how_many(merged: Merged, monkeypatch: pytest.MonkeyPatch) -> None:
    with merged.open() as artifact:
        monkeypatch.setattr(module, "extra_rows", lambda a, model, key: torch.zeros(5, 32))
        assert module._vocabulary(artifact, "lora") == 305
        assert module._vocabulary(artifact, "vision") is None  # its config.json is its own


def test_progress_is_told_in_bytes(tmp_path: Path, merged: Merged) -> None:
    told: list[tuple[int, int]] = []
    with merged.open() as artifact:
        written = export(
            artifact, "vision", tmp_path / "out", advance=lambda done, total, what: told.append((done, total))
        )
    assert told == sorted(told)
    assert told[-1] == (written.nbytes, written.nbytes)


def test_a_taken_folder_is_refused_and_replaced_by_force(tmp_path: Path, merged: Merged) -> None:
    first = exported(merged, "text", out := tmp_path / "out")
    with pytest.raises(OutputError, match="is complete already"):
        exported(merged, "lora", out)
    second = exported(merged, "lora", out, force=True)
    assert not torch.equal(first[Q], second[Q])
    assert read_manifest(out, "export")["info"]["modality"] == "lora"


def test_an_interrupted_export_leaves_no_model_and_goes_on(
    tmp_path: Path, merged: Merged, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(done: int, total: int, what: str) -> None:
        if done > total // 2:
            raise KeyboardInterrupt

    with merged.open() as artifact, pytest.raises(KeyboardInterrupt):
        export(artifact, "text", out := tmp_path / "out", shard=20_000, advance=interrupt)
    with pytest.raises(ArtifactError, match="is incomplete"):
        read_manifest(out, "export")
    again = exported(merged, "text", out, shard=20_000)
    whole = exported(merged, "text", tmp_path / "whole", shard=20_000)
    assert all(torch.equal(again[key], whole[key]) for key in whole)
    assert {path.name for path in out.iterdir()} == {path.name for path in (tmp_path / "whole").iterdir()}


def test_what_cannot_be_exported_is_refused_before_anything_is_written(
    tmp_path: Path, merged: Merged, monkeypatch: pytest.MonkeyPatch
) -> None:
    with merged.open() as artifact:
        with pytest.raises(InputError, match="no such model"):
            export(artifact, "smell", tmp_path / "out")
        with pytest.raises(ArtifactError, match="is not there"):
            export(artifact, "text", tmp_path / "out", base=tmp_path / "nowhere")
        monkeypatch.setattr(module.shutil, "disk_usage", lambda path: SimpleNamespace(free=10))
        with pytest.raises(OutputError, match="too little room") as caught:
            export(artifact, "text", tmp_path / "out")
    assert caught.value.got == "10 free bytes"
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").glob("*.safetensors"))


def test_a_damaged_merge_is_refused_whatever_its_sizes(tmp_path: Path, merged: Merged) -> None:
    shutil.copytree(merged.folder, folder := tmp_path / "a.mmer")
    flip(next(folder.glob("masks-text-*")))
    with Artifact.open(folder) as artifact:
        with pytest.raises(ArtifactError, match="is damaged") as caught:
            export(artifact, "text", tmp_path / "out")
        export(artifact, "lora", tmp_path / "lora")  # nothing of which is damaged
        flip(folder / "shared-00001.safetensors")
        with pytest.raises(ArtifactError, match="is damaged"):
            export(artifact, "lora", tmp_path / "out")
    assert caught.value.got == "masks-text-00001.safetensors has another sha256"
    assert not (tmp_path / "out").exists()


def test_the_base_may_have_moved(tmp_path: Path, merged: Merged) -> None:
    shutil.copytree(merged.base, moved := tmp_path / "moved")
    tensors = exported(merged, "text", tmp_path / "out", base=moved)
    assert torch.equal(tensors[Q], restored(merged, "text")[Q])
