from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch

from semi.merge.adding import add_model
from semi.merge.artifact import Artifact
from semi.merge.config import MergeConfig
from semi.merge.difference import Difference, compare
from semi.merge.origin import configuration
from semi.merge.removing import remove_model
from semi.merge.run import run_merge
from tests.merge.llamas import Merged, merge_llamas
from tests.merge.newcomers import NEW, newcomer

Write = Callable[..., Path]


@pytest.fixture(scope="module")
def merged(tmp_path_factory: pytest.TempPathFactory, write_lm: Write) -> Merged:
    return merge_llamas(tmp_path_factory.mktemp("merge"), write_lm)


def again(merged: Merged, out: Path, **change: Any) -> Path:
    with merged.open() as artifact:
        said = configuration(artifact).model_dump(mode="json", by_alias=True)
    run_merge(MergeConfig.model_validate(said | change), out)
    return out


def difference(one: Path, other: Path) -> Difference:
    with Artifact.open(one) as first, Artifact.open(other) as second:
        found = compare(first, second)
    json.dumps(asdict(found), allow_nan=False)
    return found


def test_the_same_models_elsewhere_are_equal(merged: Merged, tmp_path: Path) -> None:
    shutil.copytree(merged.folder.parent, tmp_path / "copy", ignore=shutil.ignore_patterns("*.mmer"))
    with merged.open() as artifact:
        said = configuration(artifact).model_dump(mode="json", by_alias=True)
    for model in said["models"]:
        model["path"] = str(tmp_path / "copy" / model["name"])
    said["base_model"] = str(tmp_path / "copy" / "base")
    run_merge(MergeConfig.model_validate(said), tmp_path / "moved.mmer")
    found = difference(merged.folder, tmp_path / "moved.mmer")
    assert found.equal
    assert found.distance == 0
    assert {name: model.agreement for name, model in found.of_models.items()} == {"text": 1, "vision": 1, "lora": 1}


def test_another_setting(merged: Merged, tmp_path: Path) -> None:
    other = again(merged, tmp_path / "other.mmer", merge={"method": "mmer", "trim": 0.3})
    found = difference(merged.folder, other)
    assert not found.equal
    assert found.settings == {"merge.trim": (0.5, 0.3)}
    assert found.models == ((), ())
    with merged.open() as first, Artifact.open(other) as second:
        keys = [entry.key for entry in first.of("merged", "rows")]
        codes = [[next(c for _, c in artifact.code(key)) for key in keys] for artifact in (first, second)]
    vectors = [torch.cat([code.shared.flatten() for code in own]).double() for own in codes]
    assert found.distance == pytest.approx(float((vectors[0] - vectors[1]).norm() / vectors[0].norm()))
    masks = [torch.cat([code.masks[1].flatten() for code in own]) for own in codes]  # type: ignore[index]
    both, either = int((masks[0] & masks[1]).sum()), int((masks[0] | masks[1]).sum())
    assert found.of_models["vision"].agreement == both / either
    assert found.of_models["vision"].density[0] > found.of_models["vision"].density[1]
    assert "shared-00001.safetensors" in found.files


def test_signs_count(tmp_path: Path, write_lm: Write) -> None:
    merged = merge_llamas(tmp_path, write_lm, method="ternary")
    found = difference(merged.folder, merged.folder)
    assert found.equal
    assert found.of_models["text"].agreement == 1
    other = again(merged, tmp_path / "optimal.mmer", merge={"method": "optimal"})
    share = difference(merged.folder, other).of_models["text"].agreement
    assert share is not None
    assert 0 < share < 0.7


def test_methods_without_masks(merged: Merged, tmp_path: Path) -> None:
    other = again(merged, tmp_path / "ties.mmer", merge={"method": "ties", "trim": 0.5}, mask={})
    found = difference(merged.folder, other)
    assert found.distance == 0
    assert found.settings["rule"] == ("tall", "none")
    assert {model.agreement for model in found.of_models.values()} == {None}


def test_a_model_more(merged: Merged, tmp_path: Path) -> None:
    config, _ = newcomer(merged, tmp_path / NEW)
    add_model(merged.folder, config, more := tmp_path / "more.mmer")
    found = difference(merged.folder, more)
    assert found.models == ((), (NEW,))
    assert found.distance == 0
    assert all(model.agreement == 1 for model in found.of_models.values())
    assert all(NEW in name for name in found.files)
    assert found.nbytes[0] < found.nbytes[1]
    remove_model(more, NEW)
    assert difference(merged.folder, more).equal
    remove_model(more, "text")
    assert difference(merged.folder, more).settings["removed"] == ((), ("text",))


def test_another_base_has_other_tensors(merged: Merged, tmp_path: Path, write_lm: Write) -> None:
    other = merge_llamas(tmp_path, write_lm, tied=False, dtype=torch.bfloat16)
    found = difference(merged.folder, other.folder)
    assert "lm_head.weight" in found.entries
    assert any(name.startswith("base.") for name in found.settings)
    assert found.distance is not None
