"""Folders are found, described by what the result depends on, and watched."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest
from torch import Tensor

from semi.errors import ArtifactError, InputError
from semi.merge.inputs import find_folder, open_inputs
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
    with pytest.raises(ArtifactError, match="there is no folder"):
        find_folder(name)
