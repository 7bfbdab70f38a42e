"""config.json: what changes the computation has to be the base's, what does not may be anything."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor
from transformers import LlamaConfig, LlavaConfig

from semi.errors import ArtifactError
from semi.merge.adding import add_model
from semi.merge.agreement import require_same_settings
from semi.merge.plan import make_plan
from semi.merge.run import run_merge
from semi.merge.runtime import DecoupledModel
from tests.merge.conftest import write_checkpoint
from tests.merge.llamas import merge_llamas
from tests.merge.merges import config_of, contents
from tests.merge.newcomers import NEW, newcomer

Write = Callable[..., Path]
OLD: dict[str, Any] = {
    "model_type": "llama",
    "hidden_size": 64,
    "num_attention_heads": 4,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "rope_scaling": None,
    "max_position_embeddings": 2048,
    "tie_word_embeddings": False,
}


def compared(folder: Path, base: dict[str, Any], model: dict[str, Any]) -> None:
    for name, said in (("base", base), ("model", model)):
        (folder / f"{name}.json").write_text(json.dumps(said))
    require_same_settings(folder / "base.json", {"vision": folder / "model.json", "audio": folder / "none.json"})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"rope_theta": 1e6}, "rope_theta is 1000000.0, in the base 10000.0"),
        ({"rms_norm_eps": 1e-6}, "rms_norm_eps is 1e-06, in the base 1e-05"),
        ({"tie_word_embeddings": True}, "tie_word_embeddings is True, in the base False"),
        ({"rope_scaling": {"type": "linear", "factor": 2.0}}, "rope_type is linear, in the base default"),
        ({"rope_parameters": {"rope_theta": 5e5, "rope_type": "default"}}, "rope_theta is 500000.0"),
        ({"text_config": OLD | {"rope_theta": 1e6}}, "rope_theta is 1000000.0"),
        ({"text_config": {"hidden_size": 64}, "tie_word_embeddings": True}, "tie_word_embeddings is True"),
        ({"hidden_act": "gelu"}, None),  # which the base does not state
        ({"max_position_embeddings": 8192}, None),
        ({"rms_norm_eps": 9.999999747378752e-06}, None),
        ({"vocab_size": 7, "dtype": "bfloat16", "torch_dtype": "float16", "transformers_version": "5.0.0"}, None),
        ({"_name_or_path": "me/mine", "architectures": ["Mine"], "model_type": "mine", "bos_token_id": 3}, None),
        ({"attention_dropout": 0.1, "use_cache": False, "id2label": {"0": "a"}}, None),
        ({"mm_hidden_size": 1024, "vision_config": {"hidden_size": 32}}, None),
        ({"text_config": {"hidden_size": 64}, "hidden_size": 99}, None),
    ],
)
def test_what_changes_the_computation_is_refused(change: dict[str, Any], said: str | None, tmp_path: Path) -> None:
    base = OLD | {"attention_dropout": 0.0, "id2label": {"0": "b"}, "dtype": "float32", "bos_token_id": 1}
    if said is None:
        compared(tmp_path, base, base | change)
        return
    with pytest.raises(ArtifactError, match="do not compute as their base does") as caught:
        compared(tmp_path, base, base | change)
    assert f"vision: {said}" in str(caught.value.got)


def test_more_positions_count_where_the_angles_are_scaled(tmp_path: Path) -> None:
    base = OLD | {"rope_scaling": {"rope_type": "dynamic", "factor": 2.0}}
    with pytest.raises(ArtifactError) as caught:
        compared(tmp_path, base, base | {"max_position_embeddings": 4096})
    assert "max_position_embeddings" in str(caught.value.got)


def test_what_transformers_writes_of_the_same_model_agrees(tmp_path: Path) -> None:
    text = LlamaConfig(hidden_size=64, num_attention_heads=4, rms_norm_eps=1e-5, rope_theta=10000.0)
    compared(tmp_path, OLD, text.to_dict())
    compared(tmp_path, text.to_dict(), OLD)
    compared(tmp_path, OLD, LlavaConfig(text_config=text).to_dict())
    compared(tmp_path, text.to_diff_dict(), LlavaConfig(text_config=text).to_diff_dict())
    with pytest.raises(ArtifactError):
        compared(tmp_path, OLD | {"rms_norm_eps": 1e-6}, LlavaConfig(text_config=text).to_dict())


def test_it_is_refused_before_work(
    base_folder: Path, tunes: dict[str, dict[str, Tensor]], tmp_path: Path, write_lm: Write
) -> None:
    (base_folder / "config.json").write_text(json.dumps(OLD))
    folder = write_checkpoint(tmp_path / "text", tunes["text"], config=OLD | {"rope_theta": 1e6})
    config = config_of(base_folder, {"text": folder})
    for work in (lambda: make_plan(config, tmp_path), lambda: run_merge(config, tmp_path / "out")):
        with pytest.raises(ArtifactError, match="do not compute"):
            work()
    assert not (tmp_path / "out").exists()

    merged = merge_llamas(tmp_path, write_lm)
    before = contents(merged.folder)
    new, _ = newcomer(merged, tmp_path / NEW)
    said = json.loads((tmp_path / NEW / "config.json").read_text())
    (tmp_path / NEW / "config.json").write_text(json.dumps(said | {"rms_norm_eps": 0.1}))
    with pytest.raises(ArtifactError, match="do not compute"):
        add_model(merged.folder, new)
    assert contents(merged.folder) == before

    said = json.loads((merged.base / "config.json").read_text())
    (merged.base / "config.json").write_text(json.dumps(said | {"rms_norm_eps": 0.1}))
    with pytest.raises(ArtifactError, match="do not compute"):
        DecoupledModel.load(merged.folder)
