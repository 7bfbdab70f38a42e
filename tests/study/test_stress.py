"""A stress study from its configuration to its sentence, on the tiny foundation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semi.study import stress as study
from semi.study.raw import _noisy
from semi.study.results import FILE
from semi.study.run import run_study
from semi.study.stress_report import report_stress
from semi.study.stress_summary import auroc, sentence
from tests.study.conftest import read_stress


@given(st.lists(st.integers(0, 5), min_size=1, max_size=8), st.lists(st.integers(0, 5), min_size=1, max_size=8))
def test_auroc_is_the_chance_to_rank_a_troubled_sample_higher(plain: list[float], troubled: list[float]) -> None:
    wins = [1.0 if b > a else 0.5 if b == a else 0.0 for a in plain for b in troubled]
    assert auroc(plain, troubled) == pytest.approx(np.mean(wins))


def test_every_condition_is_measured_once_and_told(stress: dict[str, Any], tmp_path: Path) -> None:
    out, config = tmp_path / "out", read_stress(stress)
    for _ in range(2):
        run_study(study.KIND, config, study.plan, study.measure, out, processes=0)
    lines = [json.loads(text) for text in (out / FILE).read_text().splitlines()]
    assert not [line["error"] for line in lines if "error" in line]
    assert len(lines) == 2 * 17
    left_out = {(line["cell"]["target"], line["cell"]["condition"]) for line in lines if "left_out" in line}
    assert left_out == {("toy", "other encoder"), ("others", "other encoder"), ("others", "foreign")}

    summary = report_stress(out)
    assert (summary["measured"], summary["failed"]) == (31, [])
    rows = {(row["condition"], row["strength"]): row for row in summary["rows"]}
    assert rows["plain", 0]["damage"]["mean"] == pytest.approx(0, abs=1e-4)
    assert rows["plain", 0]["auroc"] is None
    assert rows["foreign", 1]["loss"] is None
    assert rows["reordered", 1]["damage"]["mean"] == pytest.approx(0, abs=1e-3)
    assert rows["pgd", 0.1]["damage"]["mean"] >= rows["fgsm", 0.1]["damage"]["mean"] > 0
    assert rows["noise", 2]["auroc"]["mean"] > rows["noise", 0.5]["auroc"]["mean"] > 0.5
    (said,) = summary["sentences"]
    assert said.startswith("zero learned too little for trouble to take anything away.")  # a random language model
    assert "of plain samples" in said
    page = (out / "report.html").read_text()
    assert "Gaussian noise on the test embeddings" in page
    assert "data:image/svg+xml" in page
    assert len(summary["left_out"]) == 3


def test_damage_is_measured_on_the_same_samples(stress: dict[str, Any], tmp_path: Path) -> None:
    """A shift tests a part of the samples; it is compared with what the plain adaptation does on that part."""
    stress["conditions"] = [{"name": "shift", "strengths": [0.5]}]
    out = tmp_path / "out"
    run_study(study.KIND, read_stress(stress), study.plan, study.measure, out, processes=0)
    lines = [json.loads(text) for text in (out / FILE).read_text().splitlines()]
    plain, shifted = (
        next(line for line in lines if line["cell"]["target"] == "toy" and line["cell"]["condition"] == name)
        for name in ("plain", "shift")
    )
    assert 8 <= shifted["n"] < plain["n"]
    here = sum(plain["nats"][i] for i in shifted["rows"]) / sum(plain["tokens"][i] for i in shifted["rows"])
    row = next(r for r in report_stress(out)["by_target"] if r["target"] == "toy" and r["condition"] == "shift")
    assert row["damage"]["mean"] == pytest.approx(shifted["loss"] - here)


def row(condition: str, strength: float, kept: float | None, marked: float = 0.0) -> dict[str, Any]:
    mean = None if kept is None else {"mean": kept, "se": None}
    return {
        "method": "ours",
        "condition": condition,
        "strength": strength,
        "kept": mean,
        "marked": {"mean": marked, "se": None},
    }


def test_the_sentence_says_what_the_numbers_say() -> None:
    rows = [
        row("plain", 0, 1.0, 0.02),
        row("noise", 2, 0.3, 0.9),
        row("noise", 0.5, 0.95),
        row("noise", 1, 0.8),
        row("drift", 1, 0.7),
        row("reordered", 1, 1.0),
        row("foreign", 1, None, 0.75),
        row("swap", 1, -0.2, 0.1),
    ]
    assert sentence(rows, "ours") == (
        "ours keeps at least 80% of what it learned with noise up to 1, reordered and loses more than 50% with noise "
        'from 2, swap from 1. "Unlike anything seen" marks 2% of plain samples, and 90% of noise, 75% of foreign, '
        "10% of swap."
    )
    assert "none of the troubles and loses more than 50% with none of them" in sentence([row("drift", 1, 0.7)], "ours")


def test_raw_noise_goes_where_the_numbers_are() -> None:
    class Window(dict[str, Any]):
        pass

    generator = np.random.default_rng(0)
    signal = generator.standard_normal((4000, 3)).astype(np.float32) * [1, 10, 100]
    found = _noisy(Window(rate=50.0, name="x", signal=signal), 0.5, generator)
    assert isinstance(found, Window)
    assert (found["rate"], found["name"]) == (50.0, "x")
    np.testing.assert_allclose((found["signal"] - signal).std(axis=0), [0.5, 5, 50], rtol=0.1)
    for sample in ("CCO", Path("a.png"), {"rate": 3}, np.array([1, 2])):
        assert _noisy(sample, 0.5, generator) is None
