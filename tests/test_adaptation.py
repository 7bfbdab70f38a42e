from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from semi.adaptation import adapt
from semi.artifacts import read_manifest
from semi.errors import ArtifactError, InputError, OutputError, PairsError
from semi.evaluation import caption_loss, evaluate
from semi.foundation import Foundation
from semi.integration import Integration, is_many
from semi.methods import METHODS, READERS, Method
from semi.pairs import Pair
from semi.pairs_io import draw_shots
from semi.settings import Settings

COLOURS, THINGS = ("red", "green", "blue"), ("cat", "dog", "house", "car")


def pairs(n: int = 24, seed: int = 0, width: int = 10) -> list[Pair]:
    """A toy sensor: colour and thing each move the vector along a direction of their own."""
    maps = np.random.default_rng(1).standard_normal((7, width))
    g = np.random.default_rng(seed)
    found = []
    for i in range(n):
        colour, thing = i % 3, int(g.integers(4))
        vector = maps[colour] + maps[3 + thing] + 0.05 * g.standard_normal(width)
        words = (COLOURS[colour], THINGS[thing])
        attributes = {"colour": words[0], "thing": words[1]}
        found.append(Pair(vector.tolist(), " ".join(words), attributes=attributes))
    return found


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


QUICK: dict[str, Any] = {"steps": 3, "diagnose": False}


@pytest.mark.parametrize("method", METHODS)
def test_the_same_seed_gives_the_same_bytes_and_the_same_texts_after_loading(
    tiny_foundation: Foundation, tmp_path: Path, method: str
) -> None:
    options: dict[str, Any] = {"method": method, "shots": 8, "steps": 3, "seed": 1}
    first = tiny_foundation.adapt("vectors", pairs(), out=tmp_path / "a", **options)
    tiny_foundation.adapt("vectors", pairs(), out=tmp_path / "b", **options)
    assert files(tmp_path / "a") == files(tmp_path / "b")
    assert set(files(tmp_path / "a")) == {*Integration.FILES, "manifest.json", "metrics.jsonl"}
    loaded = Integration.load(tmp_path / "a", device="cpu")
    samples = [pair.sample for pair in pairs(5, seed=9)]
    assert loaded.describe(samples, max_new_tokens=5) == first.describe(samples, max_new_tokens=5)
    assert loaded.record == first.record
    assert (loaded.adapter is None) == (method not in READERS)
    one = tiny_foundation.adapt("vectors", pairs(), out=tmp_path / "c", **options | {"seed": 2})
    assert one.record.support_sha256 != first.record.support_sha256


@pytest.mark.parametrize("method", METHODS)
def test_training_lowers_the_loss_on_the_pairs(tiny_foundation: Foundation, method: str) -> None:
    losses = [
        evaluate(
            tiny_foundation.adapt(
                "vectors", pairs(), method=method, steps=steps, lr=0.01, recall=False, diagnose=False
            ),
            [Pair(np.array(p.sample), p.caption) for p in pairs()],
            texts=0,
        ).loss
        for steps in (0, 12)
    ]
    assert losses[1] < losses[0] - 0.1


def test_saving_later_keeps_the_same_integration(tiny_foundation: Foundation, tmp_path: Path) -> None:
    model = tiny_foundation.adapt("vectors", pairs(), **QUICK)
    model.save(tmp_path / "saved")
    twin = Integration.load(tmp_path / "saved", language_model=tiny_foundation.language_model)
    x = model.embed([np.array(p.sample) for p in pairs(4, seed=3)])
    assert torch.equal(model.soft(x), twin.soft(x))
    assert Integration.modality_of(tmp_path / "saved") == "vectors"
    manifest = read_manifest(tmp_path / "saved", "integration")
    assert manifest["info"]["metrics"]["training_loss"] == model.record.metrics["training_loss"]
    with pytest.raises(OutputError, match="complete already"):
        model.save(tmp_path / "saved")


def test_with_no_step_it_is_the_unmerged_adapter(tiny_foundation: Foundation) -> None:
    """Zero-step loss through the merged projector == loss through the shared one with the adapter beside it."""
    model = tiny_foundation.adapt("vectors", pairs(), steps=0, recall=False, diagnose=False)
    held = pairs(8, seed=5)
    z = model.alignment(model.embed([np.array(p.sample) for p in held]))
    assert model.adapter is not None
    soft = tiny_foundation.projector.soft(z, model.adapter)
    loss = caption_loss(model.language_model, soft, ["Describe this."] * 8, [p.caption for p in held])
    parsed = [Pair(np.array(p.sample), p.caption) for p in held]
    assert evaluate(model, parsed, texts=0).loss == pytest.approx(loss, rel=1e-4)


def test_evaluation_scores_what_is_generated(tiny_foundation: Foundation) -> None:
    model = tiny_foundation.adapt("vectors", pairs(), **QUICK)
    held = [Pair(np.array(p.sample), p.caption, attributes=p.attributes) for p in pairs(6, seed=5)]
    scores = evaluate(model, held)
    assert (scores.n, len(scores.texts)) == (6, 6)
    assert scores.texts == model.describe([p.sample for p in held])
    assert scores.loss_shuffled != scores.loss
    assert scores.rouge_l is not None
    assert scores.attribute_accuracy is not None
    assert evaluate(model, [Pair(p.sample, p.caption) for p in held]).attribute_accuracy is None


def test_the_pairs_may_come_from_a_file(tiny_foundation: Foundation, tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps({"sample": p.sample, "caption": p.caption}) + "\n" for p in pairs()))
    a = tiny_foundation.adapt("vectors", path, shots=8, **QUICK)
    b = tiny_foundation.adapt("vectors", [Pair(p.sample, p.caption) for p in pairs()], shots=8, **QUICK)
    assert a.record == b.record


def test_readings_name_neighbours_and_strangers(tiny_foundation: Foundation) -> None:
    model = tiny_foundation.adapt("vectors", pairs(), **QUICK)
    known, strange = pairs()[0], (100 * np.ones(10)).tolist()
    readings = model.read([known.sample, strange], ask="Is it a cat?", max_new_tokens=2)
    assert readings[0].nearest[0].label == known.caption
    assert readings[0].nearest[0].distance == 0
    assert [r.unlike_anything_seen for r in readings] == [False, True]


def test_one_sample_gives_one_text(tiny_foundation: Foundation) -> None:
    model = tiny_foundation.adapt("vectors", pairs(), **QUICK)
    one = pairs()[0].sample
    text = model.describe(one, max_new_tokens=3)
    assert isinstance(text, str)
    assert model.describe(np.array(one), max_new_tokens=3) == text
    assert model.describe([one], max_new_tokens=3) == [text]
    assert model.describe(list(np.array(one, np.float32)), max_new_tokens=3) == text
    many = [p.sample for p in pairs(40)]
    assert model.describe(many, max_new_tokens=3) == [model.describe(s, max_new_tokens=3) for s in many]


@pytest.mark.parametrize(
    ("samples", "many"), [([1, 2.5], False), ("CCO", False), (["CCO"], True), ([[1, 2]], True), (np.ones(3), False)]
)
def test_what_counts_as_many_samples(samples: Any, many: bool) -> None:
    assert is_many(samples) == many


class Killed(BaseException):
    """Stands for kill -9: nothing catches it."""


def dying(at: int) -> Callable[[int, str], None]:
    def advance(step: int, note: str) -> None:
        if step >= at:
            raise Killed

    return advance


@pytest.mark.parametrize("method", METHODS)
def test_killed_and_run_again_it_equals_an_undisturbed_run(
    tiny_foundation: Foundation, tmp_path: Path, method: str
) -> None:
    options: dict[str, Any] = {"method": method, "shots": 6, "steps": 12}
    tiny_foundation.adapt("vectors", pairs(), out=tmp_path / "whole", **options)
    for kill in (1, 11, 12):
        with pytest.raises(Killed):
            tiny_foundation.adapt("vectors", pairs(), out=tmp_path / "killed", advance=dying(kill), **options)
        with pytest.raises(ArtifactError, match="incomplete"):
            Integration.load(tmp_path / "killed")
        with pytest.raises(OutputError, match="other inputs or settings"):
            tiny_foundation.adapt("vectors", pairs(), out=tmp_path / "killed", **options | {"seed": 5})
    tiny_foundation.adapt("vectors", pairs(), out=tmp_path / "killed", **options)
    assert files(tmp_path / "killed") == files(tmp_path / "whole")


@pytest.mark.parametrize("method", METHODS)
def test_the_diagnosis_is_complete_and_json(tiny_foundation: Foundation, method: str) -> None:
    model = tiny_foundation.adapt("vectors", pairs(16), method=method, steps=2)
    found = model.record.metrics["diagnosis"]
    json.dumps(found, allow_nan=False)
    assert 0 <= found["accuracy"] <= 1
    assert found["chance"] == pytest.approx(1 / 8, abs=0.05)
    assert {row["value"] for row in found["few_shots"]} <= {*COLOURS, *THINGS}
    assert (found["more"] is not None) == (method in READERS)


@pytest.mark.parametrize("method", ["semi", "scratch"])
def test_of_many_pairs_some_are_held_out_of_one_training(
    tiny_foundation: Foundation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    monkeypatch.setattr("semi.settings.MANY", 40)
    monkeypatch.setattr("semi.settings.PASSES", 2)
    options = {"method": method, "batch": 8, "recall": False, "diagnose": False}
    model = tiny_foundation.adapt("vectors", pairs(48), out=tmp_path / "a", **options)
    seen = model.record.metrics["held_out_loss"]
    best = min(seen, key=lambda v: v["loss"])
    assert model.record.settings["steps"] == best["step"]
    assert not (tmp_path / "a" / "choosing-steps").exists()
    assert len(model.memory.labels) == 48
    held = [Pair(np.array(p.sample), p.caption) for p in _drawn(48, 0)[3::8]]
    assert evaluate(model, held, texts=0).loss == pytest.approx(best["loss"], rel=1e-3)


@pytest.mark.parametrize(
    ("method", "losses", "shots", "steps"),
    [
        ("semi", [5.0, 4.0, 3.0, 2.0], 32, 32),
        ("semi", [5.0, 4.0, 4.2, 4.1], 24, 24),
        ("semi", [5.0, 4.0, 4.2, 4.1], 12, 16),
        ("semi", [5.0, 4.0, 4.2, 4.1], 40, 32),
        ("semi", [5.0, 6.0, 7.0], 32, 0),
        ("finetune", [5.0, 4.0, 4.2, 4.1], 32, 4),
    ],
)
def test_as_many_steps_as_served_the_held_out_pairs(
    tiny_foundation: Foundation,
    monkeypatch: pytest.MonkeyPatch,
    method: Method,
    losses: list[float],
    shots: int,
    steps: int,
) -> None:
    told = iter(losses)
    monkeypatch.setattr("semi.fitting.Fitter.loss", lambda *_: next(told))
    model = tiny_foundation.adapt("vectors", pairs(shots), method=method, examples=0, diagnose=False)
    assert [v["loss"] for v in model.record.metrics["held_out_loss"]] == losses
    assert model.record.settings["steps"] == steps


def _drawn(n: int, seed: int) -> list[Pair]:
    return draw_shots(pairs(n), n, seed)


@pytest.mark.parametrize("k", [2, 3, 4, 5])
def test_very_few_pairs_still_end_in_an_integration(tiny_foundation: Foundation, k: int) -> None:
    for method in METHODS:
        model = tiny_foundation.adapt("vectors", pairs(), shots=k, method=method, steps=1)
        found = model.record.metrics["diagnosis"]
        assert ("note" in found) == (k < 4)


@pytest.mark.parametrize("others", [1, 2, 8])
def test_equal_samples_do_not_stop_the_diagnosis(tiny_foundation: Foundation, others: int) -> None:
    """Class prototypes: without some of the pairs there may be one vector left, which nothing can be learned from."""
    prototypes = [Pair([1.0, float(i < others)], "a dog" if i < others else "a cat") for i in range(16)]
    for method in METHODS:
        model = tiny_foundation.adapt("vectors", prototypes, method=method, steps=1)
        assert model.record.metrics["diagnosis"]


def test_steps_and_rate_are_recorded(tiny_foundation: Foundation) -> None:
    settings = Settings(method="lora", diagnose=False)
    model = tiny_foundation.adapt("vectors", pairs(), shots=6, settings=settings, steps=2)
    assert model.record.settings["method"] == "lora"
    assert model.record.settings["steps"] == 2
    assert model.record.settings["lr"] > 0
    assert len(model.record.metrics["training_loss"]) == 2


def nan_inside() -> list[Pair]:
    return [*pairs(5), Pair([float("nan")] * 10, "red cat")]


@pytest.mark.parametrize(
    ("given", "options", "error", "message"),
    [
        (pairs(5), {"shots": 0}, PairsError, "at least one shot"),
        (pairs(5), {"shots": -3}, PairsError, "at least one shot"),
        (pairs(5), {"shots": 6}, PairsError, "fewer pairs than shots"),
        (pairs(5), {"shots": 1}, PairsError, "too few pairs"),
        ([], {}, PairsError, "pairs|shot"),
        (nan_inside(), {}, PairsError, "not finite"),
        ([*pairs(5), Pair([1.0, 2.0], "red cat")], {}, InputError, "another width"),
        ([*pairs(5), Pair([1.0] * 10, "  ")], {}, PairsError, "pair 5 has an empty caption"),
        ([Pair([1.0] * 10, "red cat")] * 6, {}, InputError, "all the same"),
        (pairs(5), {"method": "magic"}, InputError, "unknown method"),
        (pairs(5), {"steps": -1}, InputError, "steps"),
        (pairs(5), {"batch": 0}, InputError, "batch"),
        (pairs(5), {"lr": 0.0}, InputError, "learning rate"),
        (pairs(5), {"shotz": 3}, InputError, "shotz"),
        (pairs(5), {"encoder": "magic"}, InputError, "no encoder"),
    ],
    ids=lambda value: str(value)[:30] if isinstance(value, dict | str) else "",
)
def test_bad_input_is_refused_and_nothing_is_left(
    tiny_foundation: Foundation,
    tmp_path: Path,
    given: list[Pair],
    options: dict[str, Any],
    error: type[InputError],
    message: str,
) -> None:
    with pytest.raises(error, match=message) as refused:
        tiny_foundation.adapt("vectors", given, out=tmp_path / "out", **options)
    assert refused.value.exit_code == 2
    assert not (tmp_path / "out").exists()


def test_an_encoder_that_gives_nan_is_named(tiny_foundation: Foundation, tmp_path: Path) -> None:
    from semi.vectors import VectorEncoder, Vectors

    class Broken(VectorEncoder):
        id = "vectors/broken@1"

        def encode(self, samples: Any) -> np.ndarray:
            return super().encode(samples) * np.float32(np.nan)

    class BrokenVectors(Vectors):
        def encoder(self, name: str | None = None) -> Any:
            return Broken()

    with pytest.raises(PairsError, match="NaN or infinity"):
        adapt(tiny_foundation, BrokenVectors(), pairs(), out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
