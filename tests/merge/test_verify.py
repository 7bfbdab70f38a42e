from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from semi.artifacts import read_json, write_json
from semi.artifacts.manifest import MANIFEST, write_manifest
from semi.errors import ArtifactError
from semi.merge.adding import add_model
from semi.merge.artifact import KIND
from semi.merge.codes import METHODS
from semi.merge.config import MergeConfig
from semi.merge.divergence import compare
from semi.merge.run import run_merge
from semi.merge.verify import Verification, beyond_base, high_residuals, verify
from tests.merge.llamas import EMBEDDINGS, NORM, Merged, Q, merge_llamas
from tests.merge.newcomers import NEW, newcomer

Write = Callable[..., Path]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory, write_lm: Write) -> Merged:
    return merge_llamas(tmp_path_factory.mktemp("merge"), write_lm)


@pytest.fixture
def merged(original: Merged, tmp_path: Path) -> Merged:
    """A copy of the artifact that may be damaged."""
    shutil.copytree(original.folder, folder := tmp_path / "copy.mmer")
    return replace(original, folder=folder)


def verified(merged: Merged, **how: object) -> Verification:
    with merged.open() as artifact:
        return verify(artifact, **how)  # type: ignore[arg-type]


def states(found: Verification) -> dict[str, str]:
    return {check.name: check.state for check in found.checks}


def told(found: Verification, name: str) -> str:
    return next(check.found for check in found.checks if check.name == name)


def rewritten(merged: Merged, name: str, key: str, **change: object) -> None:
    """Change a tensor of the artifact, and its manifest so that the hashes fit."""
    tensors = load_file(merged.folder / name)
    tensors[key] = change["to"](tensors[key].clone())  # type: ignore[operator]
    save_file(tensors, merged.folder / name)
    manifest = read_json(merged.folder / MANIFEST)
    write_manifest(merged.folder, kind=KIND, files=list(manifest["files"]), info=manifest["info"])


@pytest.mark.parametrize("method", list(METHODS))
def test_what_was_merged_passes_with_its_models(tmp_path: Path, write_lm: Write, method: str) -> None:
    found = verified(merge_llamas(tmp_path, write_lm, method=method, verify={"max_residual": 1.0}), models=True)
    assert found.fine
    expected = dict.fromkeys(
        ["files", "finite", "residual", "base", "keys", "models", "models' keys", "copies", "certificate"], "passed"
    )
    if METHODS[method].mask is None:  # type: ignore[index]
        expected["residual"] = "skipped"
    assert states(found) == expected
    assert found.again is not None
    assert found.again["entries"] == found.certificate["entries"]


def test_without_models_and_base(merged: Merged, tmp_path: Path) -> None:
    content = read_json(merged.folder / "merge.json")
    content["base"]["id"] = str(tmp_path / "gone")
    write_json(merged.folder / "merge.json", content)
    manifest = read_json(merged.folder / MANIFEST)
    write_manifest(merged.folder, kind=KIND, files=list(manifest["files"]), info=manifest["info"])
    found = verified(merged)
    assert found.fine
    assert states(found) == {"files": "passed", "finite": "passed", "residual": "passed", "base": "skipped"}
    assert "--base" in told(found, "base")
    assert states(verified(merged, base=merged.base))["base"] == "passed"
    with pytest.raises(ArtifactError, match="is not there"):
        verified(merged, base=tmp_path / "gone")


def test_a_flipped_bit_is_found(merged: Merged) -> None:
    file = merged.folder / "shared-00001.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    found = verified(merged)
    assert not found.fine
    assert told(found, "files") == "shared-00001.safetensors has another sha256"


def test_nan_is_found_wherever_it_is(merged: Merged) -> None:
    rewritten(merged, "exact-vision.safetensors", NORM, to=lambda tensor: tensor.fill_(torch.nan))
    found = verified(merged)
    assert states(found)["files"] == "passed"
    assert told(found, "finite") == f"{NORM} of vision"


def test_a_large_residual_fails(tmp_path: Path, write_lm: Write) -> None:
    found = verified(merge_llamas(tmp_path, write_lm, verify={"max_residual": 0.01}))
    assert not found.fine
    assert "text: 0." in told(found, "residual")


def test_what_is_high_is_said_in_one_place() -> None:
    certificate = {"models": {"a": {"residual": 0.5}, "b": {"residual": None}, "c": {"residual": 0.7}}}
    models = [{"name": "a", "path": "a"}]
    for method, high in (("mmer", ["c: 0.700"]), ("ties", [])):
        said = {"base_model": "base", "models": models, "merge": {"method": method}}
        assert high_residuals(certificate, MergeConfig.model_validate(said)) == high


def test_a_residual_above_1_is_told_of_every_method() -> None:
    residuals = {"a": 0.9, "b": 1.0, "c": 373.0, "d": None}
    assert beyond_base({name: {"residual": residual} for name, residual in residuals.items()}) == ["c: 373.000"]


def test_nan_and_missing_rows_of_an_added_model(merged: Merged, tmp_path: Path) -> None:
    config, _ = newcomer(merged, tmp_path / NEW)
    add_model(merged.folder, config)
    assert verified(merged, models=True).fine
    name = f"exact-{NEW}.safetensors"
    tensors = load_file(merged.folder / name)
    del tensors[f"{EMBEDDINGS}#rows"]
    save_file(tensors, merged.folder / name)
    rewritten(merged, f"residual-{NEW}-00001.safetensors", f"{Q}#values", to=lambda tensor: tensor.fill_(torch.nan))
    found = verified(merged, models=True)
    assert told(found, "finite") == f"{Q}: residual of {NEW}"
    assert told(found, "models' keys") == f"{EMBEDDINGS}#rows of {NEW} is missing"


def test_another_base_fails(merged: Merged, tmp_path: Path, write_lm: Write) -> None:
    found = verified(merged, base=write_lm(tmp_path / "other", width=48))
    assert states(found)["base"] == "failed"
    assert "another sha256" in told(found, "base")
    assert Q in told(found, "keys")


def test_changed_masks_are_found_with_the_models(merged: Merged) -> None:
    rewritten(merged, "masks-text-00001.safetensors", Q, to=lambda bits: bits ^ 255)
    assert verified(merged).fine  # nothing else can tell
    found = verified(merged, models=True)
    assert {name for name, state in states(found).items() if state == "failed"} == {"certificate"}
    assert "models.text.residual" in told(found, "certificate")


def test_changed_copies_are_found_with_the_models(merged: Merged) -> None:
    rewritten(merged, "kept-vision-00001.safetensors", "vision_tower.ids", to=lambda tensor: tensor + 1)
    rewritten(merged, "exact-text.safetensors", NORM, to=lambda tensor: tensor + 1)
    found = verified(merged, models=True)
    assert {name for name, state in states(found).items() if state == "failed"} == {"copies"}
    assert told(found, "copies") == f"{NORM} of text differs; vision_tower.ids of vision differs"


def test_changed_models_are_told_and_nothing_is_compared_with_them(tmp_path: Path, write_lm: Write) -> None:
    merged = merge_llamas(tmp_path, write_lm)
    file = tmp_path / "text" / "model.safetensors"
    tensors = load_file(file)
    save_file(tensors | {Q: tensors[Q] + 1}, file)
    found = verified(merged, models=True)
    assert told(found, "models") == "text: model.safetensors has another sha256"
    assert found.again is None


def test_models_that_are_gone_are_an_error(tmp_path: Path, write_lm: Write) -> None:
    merged = merge_llamas(tmp_path, write_lm)
    shutil.rmtree(tmp_path / "vision")
    with pytest.raises(ArtifactError, match="vision"):
        verified(merged, models=True)


def test_divergence_of_every_model(original: Merged, tmp_path: Path, write_lm: Write) -> None:
    found = verified(original, prompts=["a red cat on the table", "two dogs"])
    assert found.fine
    assert set(found.divergence) == {"text", "vision", "lora"}
    for figures in found.divergence.values():
        assert 0 < figures.nats < 5
        assert 0 <= figures.agreement <= 1
        assert figures.tokens > 5
    worse = verified(merge_llamas(tmp_path, write_lm, method="task_arithmetic"), prompts=["a red cat on the table"])
    assert worse.divergence["lora"].nats > found.divergence["lora"].nats


def test_a_model_that_comes_back_whole_does_not_diverge(tmp_path: Path, original: Merged) -> None:
    text = {"name": "text", "path": str(original.folder.parent / "text")}
    said = {"base_model": str(original.base), "models": [text], "merge": {"method": "mmer", "trim": 1.0}}
    run_merge(MergeConfig.model_validate(said), out := tmp_path / "one.mmer")
    figures = verified(replace(original, folder=out), prompts=["two dogs"]).divergence["text"]
    assert figures.nats < 1e-9
    assert figures.agreement == 1


def test_divergence_by_hand() -> None:
    one, other = torch.randn(2, 7, 5, generator=torch.Generator().manual_seed(0))
    p, q = one.double().softmax(-1), other.double().softmax(-1)
    expected = (p * (p.log() - q.log())).sum(-1).mean().item()
    found = compare([one[:3], one[3:]], [other[:3], other[3:]])
    assert found.nats == pytest.approx(expected)
    assert found.tokens == 7
    assert compare([one], [one]).nats == 0
    assert compare([one], [one]).agreement == 1
