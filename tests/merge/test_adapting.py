"""A foundation over a merge adapts, saves, loads and evaluates as it does over the exported folder, bit for bit."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from semi.adaptation import adapt
from semi.artifacts import read_manifest, write_manifest
from semi.chat import Conversation
from semi.errors import ArtifactError
from semi.evaluation import evaluate
from semi.foundation import Foundation, FoundationConfig
from semi.hypernetwork import RidgeHyperNetwork
from semi.integration import Integration
from semi.language_model import LanguageModel
from semi.merge.export import export
from semi.methods import METHODS
from semi.pairs import Pair
from semi.projector import Projector
from tests.merge.llamas import EMBEDDINGS, Merged, merge_llamas

WORDS = ("red cat", "green dog", "blue house", "red car")
QUICK: dict[str, Any] = {"steps": 2, "diagnose": False, "examples": 1}


def pairs(n: int = 8) -> list[Pair]:
    g = np.random.default_rng(0)
    return [Pair(g.standard_normal(6).tolist(), f"a {WORDS[i % 4]} {i}") for i in range(n)]


def parsed() -> list[Pair]:
    return [replace(pair, sample=np.array(pair.sample)) for pair in pairs(4)]


@pytest.fixture(scope="module")
def merged(tmp_path_factory: pytest.TempPathFactory, write_lm: Callable[..., Path]) -> Merged:
    return merge_llamas(tmp_path_factory.mktemp("merge"), write_lm, method="optimal")


@pytest.fixture(scope="module")
def folder(merged: Merged) -> Path:
    with merged.open() as artifact:
        export(artifact, "text", out := merged.folder.with_name("exported"))
    return out


@pytest.fixture(params=[False, True], ids=["meaning", "words"])
def foundation(request: pytest.FixtureRequest, foundation_folder: Path, tiny_text: str, tmp_path: Path) -> Path:
    """A foundation that was trained on the merge's base; with words in its text space, or without."""
    if not request.param:
        return foundation_folder
    plain = Foundation.load(foundation_folder, device="cpu")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        projector = Projector(16 + 32, 24, 32, soft_tokens=2)
        hypernetwork = RidgeHyperNetwork(projector, d_correction=8)
    config = FoundationConfig(plain.language_model.source(), plain.config.text_encoder, words=True)
    Foundation(config, plain.language_model, plain.text_encoder, projector, hypernetwork).save(tmp_path / "words")
    return tmp_path / "words"


@pytest.mark.parametrize("method", METHODS)
def test_a_merge_and_its_export_give_the_same_bytes(
    foundation: Path, merged: Merged, folder: Path, tmp_path: Path, method: str
) -> None:
    found = []
    for name, model in (("merge", f"{merged.folder}#text"), ("export", str(folder))):
        over = Foundation.load(foundation, language_model=model, precision="fp32", device="cpu")
        adapt(over, "vectors", pairs(), method=method, out=tmp_path / name, **QUICK)
        loaded = Integration.load(tmp_path / name, device="cpu")  # finds its language model again
        assert loaded.record.language_model["id"] == model
        talk = Conversation(loaded, max_new_tokens=5)
        talk.add(pairs()[0].sample)
        found.append((evaluate(loaded, parsed()), talk.say("What is it?"), talk.say("Are you sure?")))
    assert found[0] == found[1]
    files = [(tmp_path / name / "integration.safetensors").read_bytes() for name in ("merge", "export")]
    assert files[0] == files[1]


def test_integrations_of_several_modalities_share_a_merge(
    foundation_folder: Path, tiny_text: str, merged: Merged, tmp_path: Path
) -> None:
    def adapted(model: LanguageModel) -> Integration:
        over = Foundation.load(foundation_folder, language_model=model)
        return over.adapt("vectors", pairs(), **QUICK)

    text = LanguageModel.load(f"{merged.folder}#text", device="cpu")
    one, other = adapted(text), adapted(text.under("lora"))
    alone = [adapted(LanguageModel.load(f"{merged.folder}#{name}", device="cpu")) for name in ("text", "lora")]
    for _ in range(2):
        for mine, expected in zip((one, other), alone, strict=True):
            assert evaluate(mine, parsed()) == evaluate(expected, parsed())
    assert evaluate(one, parsed()).nats != evaluate(other, parsed()).nats
    # One of them read from disk takes what it needs from the other's language model.
    other.save(tmp_path / "other")
    loaded = Integration.load(tmp_path / "other", language_model=one.language_model)
    assert loaded.language_model.id == f"{merged.folder}#lora"
    assert loaded.language_model.model is one.language_model.model
    assert evaluate(loaded, parsed()) == evaluate(other, parsed())


def test_a_merge_that_moved_is_named_and_can_be_pointed_to(
    foundation_folder: Path, tiny_text: str, merged: Merged, tmp_path: Path
) -> None:
    shutil.copytree(merged.folder, first := tmp_path / "first.mmer")
    over = Foundation.load(foundation_folder, language_model=f"{first}#text", device="cpu")
    made = over.adapt("vectors", pairs(), out=tmp_path / "made", **QUICK)
    first.rename(moved := tmp_path / "moved.mmer")
    with pytest.raises(ArtifactError, match="there is no merge") as caught:
        Integration.load(tmp_path / "made", device="cpu")
    assert "--language-model NEW#text" in str(caught.value.do)
    found = Integration.load(tmp_path / "made", language_model=f"{moved}#text", device="cpu")
    assert evaluate(found, parsed()) == evaluate(made, parsed())
    with pytest.raises(ArtifactError, match="another language model: its files differ"):
        Integration.load(tmp_path / "made", language_model=f"{moved}#lora", device="cpu")
    shutil.copytree(merged.base, base := tmp_path / "base")
    Integration.load(tmp_path / "made", language_model=f"{moved}#text", base=base, device="cpu")


def test_a_language_model_of_another_origin_is_refused(
    foundation_folder: Path, tiny_text: str, merged: Merged, tmp_path: Path, write_lm: Callable[..., Path]
) -> None:
    other = write_lm(tmp_path / "other")
    weights = load_file(other / "model.safetensors")
    weights[EMBEDDINGS] = 0.3 * torch.randn(weights[EMBEDDINGS].shape, generator=torch.Generator().manual_seed(1))
    save_file(weights, other / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ArtifactError, match="its input embeddings are other ones") as caught:
        Foundation.load(foundation_folder, language_model=str(other), precision="fp32", device="cpu")
    assert "of their norm" in str(caught.value.got)
    wide = write_lm(tmp_path / "wide", width=64)
    with pytest.raises(ArtifactError, match="its width differs"):
        Foundation.load(foundation_folder, language_model=str(wide), precision="fp32", device="cpu")


def test_a_foundation_may_be_trained_on_a_merge(
    foundation_folder: Path, tiny_text: str, merged: Merged, folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(foundation_folder, own := tmp_path / "own")
    said = json.loads((own / "foundation.json").read_text())
    model = LanguageModel.load(f"{merged.folder}#text", device="cpu")
    (own / "foundation.json").write_text(json.dumps(said | {"language_model": model.source()}))
    write_manifest(own, kind="foundation", files=list(read_manifest(foundation_folder, "foundation")["files"]), info={})
    assert Foundation.load(own, device="cpu").language_model.source() == model.source()
    # and goes over another fine-tune of the same base as any other foundation does
    Foundation.load(own, language_model=model.under("lora"))
    Foundation.load(own, language_model=str(folder), precision="fp32", device="cpu")
