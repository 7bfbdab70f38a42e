from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from semi.merge.checkpoint import Checkpoint
from semi.merge.config import ModelConfig
from semi.merge.lora import LoraAdapter
from semi.merge.matching import Matching, match_keys
from tests.merge.conftest import SHAPES, UP, Q, write_adapter, write_checkpoint

VISION = {"vision_tower.conv.weight": torch.ones(2, 3, 2, 2), "mm_projector.position_ids": torch.arange(3)}


def match(base_folder: Path, folder: Path, prefix: str = "", *, named: bool = True, **settings: Any) -> Matching:
    config = ModelConfig(name="m", path=str(folder), llm_prefix=prefix, **settings)
    with Checkpoint.open(base_folder) as base, Checkpoint.open(folder, prefix) as model:
        return match_keys(base, model, config, named=named)


LAYOUTS = {
    "as the base": ("", lambda key: key, "vision_tower."),
    "the base behind a prefix": ("language_model.", lambda key: f"language_model.{key}", "vision_tower."),
    "a trunk behind a prefix, the head as it was": (
        "model.language_model.",
        lambda key: key.replace("model.", "model.language_model.", 1),
        "model.visual.",
    ),
    "encoders within the trunk": ("model.", lambda key: key, "model.vision_tower."),
}


@pytest.mark.parametrize(("prefix", "rename", "vision"), LAYOUTS.values(), ids=LAYOUTS)
def test_layouts_of_multimodal_models_match(
    tmp_path: Path, base_folder: Path, base: dict[str, Tensor], prefix: str, rename: Any, vision: str
) -> None:
    tensors = {rename(key): tensor for key, tensor in base.items()} | {f"{vision}conv.weight": torch.ones(2, 2)}
    keep = vision.removeprefix(prefix)
    folder = write_checkpoint(tmp_path / "m", tensors)
    found = match(base_folder, folder, prefix, keep=[keep])
    assert not found.problems
    assert not found.notes
    assert set(found.names) == set(base)
    with Checkpoint.open(folder, prefix) as model:
        assert {key: model.info(own).stored for key, own in found.names.items()} == {key: rename(key) for key in base}
        assert [model.info(key).stored for key in found.kept] == [f"{vision}conv.weight"]


def test_keys_outside_the_base_are_kept_or_told(tmp_path: Path, base_folder: Path, base: dict[str, Tensor]) -> None:
    folder = write_checkpoint(tmp_path / "m", base | VISION)
    found = match(base_folder, folder, keep=["vision_tower", "audio_tower"])
    assert found.kept == ("vision_tower.conv.weight",)
    assert found.problems == ("m: mm_projector.position_ids is in neither the base nor `keep`",)
    assert found.notes == ("m: `keep` audio_tower begins no key outside the base",)


def test_keys_that_need_no_name_are_kept_and_told(tmp_path: Path, base_folder: Path, base: dict[str, Tensor]) -> None:
    folder = write_checkpoint(tmp_path / "m", base | VISION)
    found = match(base_folder, folder, named=False, keep=["vision_tower"])
    assert found.kept == ("mm_projector.position_ids", "vision_tower.conv.weight")
    assert not found.problems
    assert found.notes == ("m: 1 tensors are kept that `keep` does not name: mm_projector.position_ids",)
    del base[UP]
    missing = match(base_folder, write_checkpoint(tmp_path / "n", base), named=False)
    assert missing.problems == (f"m: lacks {UP}",)


def test_a_prefix_that_begins_no_key_is_told(base_folder: Path) -> None:
    found = match(base_folder, base_folder, "language_model.")
    assert not found.problems
    assert found.notes == ("m: `llm_prefix` language_model. begins no key",)


def test_missing_keys_are_told(tmp_path: Path, base_folder: Path, base: dict[str, Tensor]) -> None:
    del base[UP], base["lm_head.weight"]
    found = match(base_folder, write_checkpoint(tmp_path / "m", base))
    assert f"m: lacks {UP}" in found.problems
    assert any("lacks lm_head.weight, tied" in problem for problem in found.problems)
    assert len(found.problems) == 2


def test_an_untied_head_on_a_tied_base_is_told_or_kept(
    tmp_path: Path, base_folder: Path, base: dict[str, Tensor]
) -> None:
    folder = write_checkpoint(tmp_path / "m", base)
    del base["lm_head.weight"]
    tied = write_checkpoint(tmp_path / "tied", base, config={"tie_word_embeddings": True})
    (problem,) = match(tied, folder).problems
    assert "has lm_head.weight, which the base ties" in problem
    assert match(tied, folder, keep=["lm_head"]).kept == ("lm_head.weight",)


def test_another_models_folder_is_one_problem(tmp_path: Path, base_folder: Path) -> None:
    (problem,) = match(
        base_folder, write_checkpoint(tmp_path / "m", {"llm." + key: torch.ones(1) for key in SHAPES})
    ).problems
    assert "check its path and llm_prefix" in problem
    assert "llm.lm_head.weight" in problem


def test_two_keys_for_one_of_the_base_are_told(tmp_path: Path, base_folder: Path, base: dict[str, Tensor]) -> None:
    folder = write_checkpoint(tmp_path / "m", base | {"llm.norm.weight": torch.ones(8)})
    (problem,) = match(base_folder, folder, "llm.").problems
    assert "are both the base's model.norm.weight" in problem


def test_an_adapter_may_leave_keys_alone_but_change_none_outside(
    tmp_path: Path, base_folder: Path, factors: dict[str, Tensor]
) -> None:
    vision = {"vision.q.lora_A.weight": torch.ones(2, 3), "vision.q.lora_B.weight": torch.ones(3, 2)}
    whole = {"mm_projector.weight": torch.ones(3, 3)}
    folder = write_adapter(tmp_path / "l", factors | vision | whole)
    config = ModelConfig(name="l", path="l", adapter="lora", keep=("vision", "mm_projector"))
    with Checkpoint.open(base_folder) as base, LoraAdapter.open(folder) as adapter:
        found = match_keys(base, adapter, config)
    assert found.names == {Q: Q, UP: UP}
    assert found.kept == ("mm_projector.weight", "vision.q.weight")
    assert found.problems == ("l: changes vision.q.weight, which the base lacks, by LoRA",)
