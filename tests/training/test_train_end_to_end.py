"""Both trainings from a configuration file to a foundation that adapts, on the tiny language model."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from semi.artifacts import read_manifest
from semi.encoding import encode
from semi.errors import ArtifactError, InputError, OutputError
from semi.foundation import Foundation
from semi.language_model import LanguageModel
from semi.pairs import Pair
from semi.training.loop import History
from semi.training.run import draw_curve, run_hypernetwork, run_projector
from semi.vectors import Vectors
from tests.training_distributed.recipes import CAPTIONS, write_sources


class Killed(BaseException):
    """Stands for kill -9: nothing catches it."""


def dying(at: int) -> Callable[[int, str], None]:
    """Dies after optimiser step `at` (progress of the captions' embedding has another note)."""

    def advance(step: int, note: str) -> None:
        if step >= at and note.startswith("loss"):
            raise Killed

    return advance


@pytest.fixture
def trainings(tiny_lm: Path, tiny_text: str, tmp_path: Path) -> tuple[Path, Path]:
    """Configuration files of both trainings on an encoded text, an encoded sensor and procedural modalities."""
    common = write_sources(tmp_path, tiny_text)
    schedule = {"steps": 6, "lr": 3e-3, "warmup": 2, "accumulate": 2, "validate_every": 3, "save_every": 2}
    projector = common | {
        "language_model": str(tiny_lm),
        "precision": "fp32",
        "text_encoder": tiny_text,
        "projector": {"d_hidden": 24, "soft_tokens": 2},
        "warm_start": 4,
        "schedule": schedule,
    }
    hypernetwork = common | {
        "projector": str(tmp_path / "projector"),
        "settings": {"d_correction": 8},
        "schedule": schedule | {"steps": 4},
    }
    paths = (tmp_path / "projector.yaml", tmp_path / "hypernetwork.yaml")
    for path, config in zip(paths, (projector, hypernetwork), strict=True):
        path.write_text(yaml.safe_dump(config))
    return paths


ATTENTION = {"rank": 2, "alpha": 2.0, "n_pairs": 32}


def change(path: Path, **settings: Any) -> Path:
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | settings))
    return path


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def resumed(run: Callable[..., History], config: Path, out: Path, kills: list[int]) -> History:
    for kill in kills:
        with pytest.raises(Killed):
            run(config, out, advance=dying(kill))
        with pytest.raises(ArtifactError, match="incomplete"):
            Foundation.load(out)
    return run(config, out)


def test_both_trainings_end_in_a_foundation_that_adapts_and_resume_bit_for_bit(
    trainings: tuple[Path, Path], tmp_path: Path
) -> None:
    projector, hypernetwork = trainings
    history = run_projector(projector, tmp_path / "projector")
    assert len(history.steps) == 6
    assert history.best["loss"] < history.validations[0]["loss"]
    assert resumed(run_projector, projector, tmp_path / "projector-2", [1, 3, 6]) == history
    assert files(tmp_path / "projector") == files(tmp_path / "projector-2")
    assert set(read_manifest(tmp_path / "projector", "projector")["info"]["losses"]) == {
        "0-words (validation)",
        "1-sensor (validation)",
        "2-procedural-0",
    }

    history = run_hypernetwork(hypernetwork, tmp_path / "foundation")
    assert [v["step"] for v in history.validations] == [0, 3, 4]
    assert resumed(run_hypernetwork, hypernetwork, tmp_path / "foundation-2", [1, 4]) == history
    assert files(tmp_path / "foundation") == files(tmp_path / "foundation-2")

    foundation = Foundation.load(tmp_path / "foundation", device="cpu")
    assert foundation.config.words
    assert foundation.projector.sizes == {"d_in": 16 + 32, "d_hidden": 24, "d_lm": 32, "soft_tokens": 2}
    g = np.random.default_rng(2)
    pairs = [Pair(g.standard_normal(7).tolist(), caption) for caption in CAPTIONS[:6]]
    model = foundation.adapt("vectors", pairs, steps=1)
    assert isinstance(model.describe(pairs[0].sample, max_new_tokens=3), str)

    with pytest.raises(OutputError, match="complete already"):
        run_hypernetwork(hypernetwork, tmp_path / "foundation")


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("ridge", {"d_correction": 8, "kernels": [["linear", 1.0]]}),
        ("attention", ATTENTION),
        ("attention", ATTENTION | {"bottleneck": 3}),
    ],
)
@pytest.mark.parametrize("isometry", ["none", "householder", "signed_permutation", "hadamard"])
def test_every_kind_and_isometry_trains(
    trainings: tuple[Path, Path], tmp_path: Path, kind: str, settings: dict[str, Any], isometry: str
) -> None:
    projector, hypernetwork = trainings
    change(projector, warm_start=0, schedule={"steps": 1, "lr": 1e-3})
    run_projector(projector, tmp_path / "projector")
    change(hypernetwork, kind=kind, settings=settings, isometry=isometry, schedule={"steps": 2, "lr": 1e-3})
    run_hypernetwork(hypernetwork, tmp_path / "foundation")
    assert Foundation.load(tmp_path / "foundation", device="cpu").hypernetwork().kind == kind


@pytest.mark.parametrize("kind", ["ridge", "attention"])
def test_distillation_takes_no_language_model(
    trainings: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    projector, hypernetwork = trainings
    run_projector(projector, tmp_path / "projector")
    settings = ATTENTION if kind == "attention" else {"d_correction": 8}
    change(hypernetwork, kind=kind, settings=settings, loss="distillation", schedule={"steps": 40, "lr": 3e-3})
    monkeypatch.setattr(LanguageModel, "answer_loss", None)
    history = run_hypernetwork(hypernetwork, tmp_path / "foundation")
    assert history.best["loss"] < history.validations[0]["loss"]


def test_a_hypernetwork_is_put_beside_others_on_the_same_projector(
    trainings: tuple[Path, Path], tmp_path: Path
) -> None:
    projector, hypernetwork = trainings
    run_projector(projector, tmp_path / "projector")
    run_hypernetwork(hypernetwork, tmp_path / "ridge")
    beside = {"beside": str(tmp_path / "ridge"), "kind": "attention", "settings": ATTENTION}
    change(hypernetwork, **beside, loss="distillation")
    run_hypernetwork(hypernetwork, tmp_path / "both")
    both, ridge = (Foundation.load(tmp_path / name, device="cpu") for name in ("both", "ridge"))
    assert list(both.hypernetworks) == ["ridge", "attention"]
    assert both.hypernetwork() is both.hypernetwork("ridge")
    for name, weight in ridge.hypernetwork().state_dict().items():
        assert torch.equal(both.hypernetwork().state_dict()[name], weight)
    both.save(tmp_path / "again")
    settings = yaml.safe_load(hypernetwork.read_text())
    hypernetwork.write_text(yaml.safe_dump({name: own for name, own in settings.items() if name != "projector"}))
    run_hypernetwork(hypernetwork, tmp_path / "on-a-foundation")
    known, found = files(tmp_path / "both"), files(tmp_path / "on-a-foundation")
    assert known.keys() == found.keys()
    assert all(found[name] == known[name] for name in ("projector.safetensors", "hypernetwork.safetensors"))
    hypernetwork.write_text(yaml.safe_dump(settings))
    assert files(tmp_path / "again").keys() >= {"hypernetwork.safetensors", "hypernetwork-attention.safetensors"}

    g = np.random.default_rng(2)
    pairs = [Pair(g.standard_normal(7).tolist(), caption) for caption in CAPTIONS[:6]]
    default, other, named = (
        both.adapt("vectors", pairs, steps=0, diagnose=False, hypernetwork=kind)
        for kind in (None, "attention", "ridge")
    )
    x = default.embed([np.array(pairs[0].sample)])
    assert torch.equal(default.soft(x), named.soft(x))
    assert not torch.equal(default.soft(x), other.soft(x))
    assert other.record.settings["hypernetwork"] == "attention"
    with pytest.raises(InputError, match="no such hypernetwork"):
        ridge.adapt("vectors", pairs, hypernetwork="attention")
    with pytest.raises(InputError, match="uses no hypernetwork"):
        both.adapt("vectors", pairs, method="scratch", hypernetwork="ridge")

    change(projector, seed=5)
    run_projector(projector, tmp_path / "projector-2")
    change(hypernetwork, projector=str(tmp_path / "projector-2"))
    with pytest.raises(ArtifactError, match="another projector"):
        run_hypernetwork(hypernetwork, tmp_path / "mixed")


def test_a_projector_goes_on_from_another_and_shows_examples(trainings: tuple[Path, Path], tmp_path: Path) -> None:
    projector, _ = trainings
    first = run_projector(projector, tmp_path / "first")
    change(projector, start=str(tmp_path / "first"), examples=3, warm_start=0)
    second = run_projector(projector, tmp_path / "second")
    assert set(read_manifest(tmp_path / "second", "projector")["info"]["losses"]) == {
        "0-words (validation)",
        "1-sensor (validation)",
        "1-sensor (validation), 3 examples",
        "2-procedural-0",
        "2-procedural-0, 3 examples",
    }
    assert second.steps[0]["loss"] < first.steps[0]["loss"]
    assert resumed(run_projector, projector, tmp_path / "again", [1, 4]) == second
    assert files(tmp_path / "second") == files(tmp_path / "again")
    change(projector, start=str(tmp_path / "none"))
    with pytest.raises(ArtifactError):
        run_projector(projector, tmp_path / "third")


def test_folders_of_one_source_share_its_weight(trainings: tuple[Path, Path], tmp_path: Path) -> None:
    projector, _ = trainings
    both = [str(tmp_path / "words"), str(tmp_path / "sensor")]
    change(projector, sources=[{"encoded": both, "weight": 1}])
    run_projector(projector, tmp_path / "projector")
    assert set(read_manifest(tmp_path / "projector", "projector")["info"]["config"]["inputs"]) == set(both)


def test_an_interrupted_run_of_other_settings_is_refused_and_forced(
    trainings: tuple[Path, Path], tmp_path: Path
) -> None:
    projector, _ = trainings
    with pytest.raises(Killed):
        run_projector(projector, tmp_path / "out", advance=dying(2))
    change(projector, seed=8)
    with pytest.raises(OutputError, match="other inputs or settings"):
        run_projector(projector, tmp_path / "out")
    run_projector(projector, tmp_path / "out", force=True)
    run_projector(projector, tmp_path / "fresh")
    assert files(tmp_path / "out") == files(tmp_path / "fresh")


def test_bad_input_is_refused_before_any_work(trainings: tuple[Path, Path], tmp_path: Path) -> None:
    projector, hypernetwork = trainings
    out = tmp_path / "out"
    with pytest.raises(ArtifactError, match="projector"):  # not trained yet
        run_hypernetwork(hypernetwork, out)
    change(projector, sources=[{"encoded": str(tmp_path / "nowhere"), "weight": 1}])
    with pytest.raises(ArtifactError, match="nowhere"):
        run_projector(projector, out)
    few = [Pair(np.ones(3, np.float32), caption) for caption in CAPTIONS[:7]]
    encode(Vectors(), Vectors().encoder(), few, tmp_path / "small")
    change(projector, sources=[{"encoded": str(tmp_path / "small"), "weight": 1}])
    with pytest.raises(InputError, match="small holds too few pairs"):
        run_projector(projector, out)
    change(projector, sources=[{"procedural": 2, "weight": 1}], language_model=str(tmp_path / "no-lm"))
    with pytest.raises(ArtifactError, match="no-lm"):
        run_projector(projector, out)
    assert not out.exists()


def test_a_hypernetwork_of_unknown_settings_or_a_damaged_projector_is_refused(
    trainings: tuple[Path, Path], tmp_path: Path
) -> None:
    projector, hypernetwork = trainings
    change(projector, warm_start=0, schedule={"steps": 1, "lr": 1e-3})
    run_projector(projector, tmp_path / "projector")
    change(hypernetwork, settings={"depth": 3})
    with pytest.raises(InputError, match="depth"):
        run_hypernetwork(hypernetwork, tmp_path / "out")
    change(hypernetwork, settings={})
    weights = tmp_path / "projector" / "projector.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(ArtifactError, match=r"projector\.safetensors"):
        run_hypernetwork(hypernetwork, tmp_path / "out")
    shutil.rmtree(tmp_path / "projector")
    with pytest.raises(ArtifactError, match="projector"):
        run_hypernetwork(hypernetwork, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_curve_is_a_picture(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    rows = [{"step": float(i), "loss": 1.0 / i, "lr": 0.1} for i in range(1, 300)]
    for name, history in (("a", History(rows, [{"step": 0, "loss": 2.0}])), ("b", History(rows))):
        assert draw_curve(history, tmp_path / f"{name}.png")
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
