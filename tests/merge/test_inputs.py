"""Folders are found, described by what the result depends on, and watched."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest
from torch import Tensor

from semi import weights
from semi.assets.catalog import CORE
from semi.errors import ArtifactError, InputError
from semi.merge.inputs import find_folder, located, open_inputs
from semi.weights import GGUF_FILE
from tests.merge.conftest import write_adapter, write_checkpoint
from tests.merge.merges import config_of


def test_what_is_read_and_what_is_copied(
    base_folder: Path, tunes: dict[str, dict[str, Tensor]], factors: dict[str, Tensor], tmp_path: Path
) -> None:
    full = write_checkpoint(tmp_path / "full", tunes["text"], shards=2, config={"model_type": "llama"})
    for name in ("tokenizer.json", "optimizer.pt", "pytorch_model.bin", ".secret", "deep/code.py", ".cache/x.json"):
        (full / name).parent.mkdir(exist_ok=True)
        (full / name).write_text("")
    (base_folder / "config.json").write_text("{}")
    lora = write_adapter(tmp_path / "lora", factors)
    (lora / "README.md").write_text("")
    config = config_of(base_folder, {"full": full, "lora": {"path": str(lora), "adapter": "lora"}})
    with open_inputs(config) as inputs:
        assert {name: set(copied) for name, copied in inputs.copied.items()} == {
            "full": {"config.json", "tokenizer.json", "deep/code.py"},
            "lora": {"config.json", "README.md"},
        }
        assert set(inputs.files) == {
            "base/model.safetensors",
            "models.full/model-00001-of-00002.safetensors",
            "models.full/model-00002-of-00002.safetensors",
            "models.lora/adapter_config.json",
            "models.lora/adapter_model.safetensors",
        }
        told: list[int] = []
        for name, sha in inputs.hashes(told.append).items():
            assert sha == hashlib.sha256(inputs.files[name].read_bytes()).hexdigest()
        assert sum(told) == inputs.nbytes
        json.dumps(inputs.describe(config))


def test_the_description_ignores_memory_and_knows_every_file(
    base_folder: Path, tunes: dict[str, dict[str, Tensor]], tmp_path: Path
) -> None:
    models = {"text": write_checkpoint(tmp_path / "text", tunes["text"])}
    (tmp_path / "text" / "tokenizer.json").write_text("{}")
    little, plenty = (config_of(base_folder, models, io={"max_memory": size}) for size in ("300M", "2G"))
    with open_inputs(little) as inputs:
        description = inputs.describe(little)
        assert description == inputs.describe(plenty)
        assert description != inputs.describe(config_of(base_folder, models, io={"shard": "1M"}))
        assert {"base/model.safetensors", "models.text/model.safetensors", "models.text/tokenizer.json"} <= set(
            description
        )


@pytest.mark.parametrize("harm", ["touch", "remove"])
@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json"])
def test_a_change_is_told_by_name(
    harm: str, name: str, base_folder: Path, tunes: dict[str, dict[str, Tensor]], tmp_path: Path
) -> None:
    folder = write_checkpoint(tmp_path / "text", tunes["text"])
    (folder / "tokenizer.json").write_text("{}")
    with open_inputs(config_of(base_folder, {"text": folder})) as inputs:
        inputs.require_unchanged()
        os.utime(folder / name, ns=(1, 1)) if harm == "touch" else (folder / name).unlink()
        with pytest.raises(InputError, match="changed") as caught:
            inputs.require_unchanged()
    assert f"models.text/{name}" in str(caught.value.got)


@pytest.mark.parametrize("name", ["./nowhere", "nowhere", "/no/where/at/all"])
def test_a_folder_that_is_not_there_is_named(name: str) -> None:
    with pytest.raises(ArtifactError, match="there is no folder") as caught:
        find_folder(name)
    assert f"a folder {Path(name).absolute()}, an asset (smollm2-135m)" in str(caught.value)


def test_paths_count_from_the_working_directory_and_are_kept_absolute(
    base_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = located(config_of(Path("base"), {"text": Path("./base"), "hub": Path("owner/name")}))
    assert config.base_model == config.models[0].path == str(base_folder)
    assert config.models[1].path == "owner/name"


def test_an_asset_is_the_folder_that_is_made_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asset = tmp_path / "asset"
    asset.mkdir()
    (asset / GGUF_FILE).write_bytes(b"")
    monkeypatch.setattr(type(CORE["smollm2-135m"]), "folder", lambda self: asset)
    monkeypatch.setattr(weights, "dequantised", lambda name, gguf: tmp_path / name / gguf.name)
    assert find_folder("smollm2-135m") == tmp_path / "smollm2-135m" / GGUF_FILE
    assert located(config_of(Path("smollm2-135m"), {"text": tmp_path})).base_model == "smollm2-135m"


def test_what_the_cache_has_beside_a_model_is_not_copied(base_folder: Path, lora_folder: Path) -> None:
    for name in ("complete.json", "weights.sha256", "tokenizer.json"):
        (base_folder / name).write_text("{}")
    with open_inputs(config_of(base_folder, {"lora": {"path": str(lora_folder), "adapter": "lora"}})) as inputs:
        assert set(inputs.copied["lora"]) == {"tokenizer.json"}


def test_settings_that_nothing_is_compared_with_are_told(
    base_folder: Path, tunes: dict[str, dict[str, Tensor]], lora_folder: Path, tmp_path: Path
) -> None:
    text = write_checkpoint(tmp_path / "text", tunes["text"])
    config = config_of(base_folder, {"text": text, "lora": {"path": str(lora_folder), "adapter": "lora"}})
    with open_inputs(config) as inputs:
        assert inputs.notes == ("the base has no config.json: whether the models compute as it does was not compared",)
    (base_folder / "config.json").write_text("{}")
    with open_inputs(config) as inputs:
        assert inputs.notes == ("text: has no config.json: whether it computes as the base does was not compared",)


def test_a_broken_file_of_a_model_is_not_taken_for_one_of_ours(
    base_folder: Path, tunes: dict[str, dict[str, Tensor]], tmp_path: Path
) -> None:
    text = write_checkpoint(tmp_path / "text", tunes["text"])
    (text / "config.json").write_text("{")
    with pytest.raises(ArtifactError, match=r"text/config.json is not JSON") as caught:
        open_inputs(config_of(base_folder, {"text": text})).__enter__()
    assert (caught.value.expected, caught.value.do) == (None, "fetch or save the model again")
