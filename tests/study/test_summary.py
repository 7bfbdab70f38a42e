"""The tables of a study from lines whose numbers are known."""

from __future__ import annotations

from typing import Any

import pytest

from semi.study.config import EfficiencyConfig
from semi.study.measure import SCORES
from semi.study.summary import summarise

TOKENS = [10, 20, 10, 20]


def config(**changes: Any) -> EfficiencyConfig:
    methods = [
        {"name": "ours", "shots": [8, 32]},
        {"name": "scratch", "shots": [8, 32, 128, 512]},
        {"name": "other", "shots": [32]},
    ]
    target = {"name": "toy", "modality": "vectors", "dataset": "toy"}
    given = {"foundations": ["a", "b"], "targets": [target], "methods": methods, "seeds": [0, 1, 2], "draws": 500}
    return EfficiencyConfig.model_validate(given | {"baselines": ["scratch", "other"]} | changes)


def line(method: str, shots: int, seed: int, loss: float, *, foundation: str = "a", missed: int = 0) -> dict[str, Any]:
    cell = {"foundation": foundation, "target": "toy", "method": method, "shots": shots, "seed": seed}
    names = ("seconds", "steps", "captions_shots", "captions_held_out", "captions_shared")
    facts = {"facts_missed": [missed] * 2, "facts": [4] * 2}
    nats = {"nats": [loss * n for n in TOKENS], "tokens": TOKENS}
    return {"cell": cell, **dict.fromkeys((*SCORES, *names), 0.5), "loss": loss, "shots": shots, **facts, **nats}


def lines() -> list[dict[str, Any]]:
    """Scratch needs 256 shots for what ours does with 32, and misses more facts however many it gets."""
    curve = {8: 5.0, 32: 4.0, 128: 3.0, 512: 2.0}
    found = [
        line("scratch", shots, seed, loss + 0.01 * seed, missed=2) for shots, loss in curve.items() for seed in range(3)
    ]
    for foundation, better in (("a", 0.1), ("b", -0.1)):
        for seed in range(3):
            for shots, loss in ((8, 3.5), (32, 2.5)):
                found.append(line("ours", shots, seed, loss + better + 0.01 * seed, foundation=foundation, missed=1))
    return found


def test_means_are_over_seeds_and_foundations() -> None:
    rows = {(row["method"], row["shots"]): row for row in summarise(config(), lines())["rows"]}
    assert list(rows) == [("ours", 8), ("ours", 32), *(("scratch", n) for n in (8, 32, 128, 512))]
    assert rows["ours", 32]["loss"]["mean"] == pytest.approx(2.51)
    assert rows["ours", 32]["cells"] == 6
    assert rows["scratch", 8]["loss"] == pytest.approx({"mean": 5.01, "se": 0.01 / 3**0.5})
    one = summarise(config(), [line("other", 32, 0, 2.0)])["rows"]
    assert one[0]["loss"] == {"mean": 2.0, "se": None}


def test_differences_are_at_equal_shots_and_paired_by_seed() -> None:
    found = summarise(config(), lines())["comparisons"]
    by = {(row["measure"], row["baseline"], row["shots"]): row for row in found}
    assert set(by) == {(m, "scratch", n) for m in ("loss", "attributes") for n in (8, 32)}
    assert by["loss", "scratch", 32]["value"] == pytest.approx(-1.5)
    assert by["loss", "scratch", 32]["high"] == pytest.approx(-1.5)
    assert by["attributes", "scratch", 8]["value"] == pytest.approx(-0.25)
    assert by["loss", "scratch", 8]["p_holm"] == pytest.approx(2 * by["loss", "scratch", 8]["p"])


def test_shots_to_match_are_read_off_the_baselines_curve() -> None:
    by = {row["measure"]: row for row in summarise(config(), lines())["matches"]}
    assert by["loss"]["value"] == pytest.approx(256, rel=1e-6)
    assert by["loss"]["shown"] == "256 (95 % 256 to 256)"
    assert (by["loss"]["at_shots"], by["loss"]["most"]) == (32, 512)
    assert by["attributes"]["value"] is None
    assert by["attributes"]["shown"] == "> 512 (95 % > 512 to > 512)"


def test_a_baseline_that_is_as_good_at_once_is_bounded_below() -> None:
    easy = [line("scratch", shots, 0, 1.0) for shots in (8, 32)] + [line("ours", 32, 0, 2.0)]
    (row, _) = summarise(config(), easy)["matches"]
    assert row["shown"] == "<= 8 (95 % <= 8 to <= 8)"


def test_a_study_of_nothing_has_empty_tables() -> None:
    assert summarise(config(), []) == {"rows": [], "comparisons": [], "matches": []}


def test_without_text_there_are_no_tables_of_attributes() -> None:
    silent = [one | {"facts": [], "facts_missed": []} for one in lines()]
    assert {row["measure"] for row in summarise(config(), silent)["comparisons"]} == {"loss"}
