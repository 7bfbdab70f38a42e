"""A sample-efficiency study from its configuration to its report, on the tiny foundation."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from semi.errors import ArtifactError, InputError, OutputError, SemiError
from semi.evaluation import evaluate
from semi.foundation import Foundation
from semi.methods import DEFAULTS
from semi.pairs_io import draw_shots, read_pairs
from semi.settings import Settings
from semi.study import efficiency as study
from semi.study.efficiency_report import report_efficiency
from semi.study.results import FILE, Results
from semi.study.run import run_study
from semi.vectors import Vectors
from tests.study.conftest import read_efficiency

CELLS = 10


def run(config: dict[str, Any], out: Path, *, force: bool = False) -> Results:
    read = read_efficiency(config)
    return run_study(study.KIND, read, study.plan, study.measure, out, processes=0, force=force)


def lines(out: Path) -> list[dict[str, Any]]:
    return [json.loads(text) for text in (out / FILE).read_text().splitlines()]


def test_a_cell_is_the_adaptation_and_evaluation_that_anybody_would_do(
    efficiency: dict[str, Any], tmp_path: Path
) -> None:
    run(efficiency | {"generate": 3, "seeds": [0]}, tmp_path / "out")
    found = lines(tmp_path / "out")
    assert len(found) == CELLS / 2
    foundation = Foundation.load(efficiency["foundations"][0], device="cpu")
    train, test = (read_pairs(efficiency["targets"][0][split], modality=Vectors()).pairs for split in ("train", "test"))
    held_out = draw_shots(test, 20, 0)
    for line in found:
        cell = line["cell"]
        settings = efficiency["methods"][cell["method"] == "scratch"]["settings"]
        shots = 60 if cell["shots"] == "full" else cell["shots"]
        support = draw_shots(train, shots, cell["seed"])
        model = foundation.adapt("vectors", support, settings=Settings(**settings, seed=cell["seed"], diagnose=False))
        scores = evaluate(model, held_out, texts=0)
        of_all = scores.loss, scores.loss_shuffled  # samples that text is written for are read apart
        assert (line["loss"], line["loss_shuffled"]) == pytest.approx(of_all, rel=1e-5)
        assert line["nats"] == pytest.approx(scores.nats, abs=1e-4)
        assert sum(line["nats"]) / sum(line["tokens"]) == pytest.approx(line["loss"], rel=1e-5)
        some = evaluate(model, held_out[:3], text_encoder=foundation.text_encoder)
        assert line["texts"] == some.texts
        assert (line["rouge_l"], line["cosine"]) == (some.rouge_l, some.cosine)
        assert 1 - sum(line["facts_missed"]) / sum(line["facts"]) == pytest.approx(some.attribute_accuracy)
        assert (line["shots"], line["steps"]) == (shots, settings["steps"])
        assert line["captions_shots"] == len({pair.caption for pair in support})
        assert line["foundation_sha256"] == foundation.sha256


def test_a_second_run_measures_only_what_is_new(
    efficiency: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    run(efficiency, out)
    before = (out / FILE).read_bytes()
    run(efficiency | {"seeds": [0, 1, 2], "baselines": [], "draws": 100}, out)
    assert (out / FILE).read_bytes().startswith(before)
    assert [line["cell"]["seed"] for line in lines(out)[CELLS:]] == [2] * 5
    monkeypatch.setattr(study, "make", None)
    run(efficiency, out)
    assert len(lines(out)) == 15
    assert report_efficiency(out)["measured"] == CELLS  # the third seed is not asked for


def test_other_settings_are_refused_by_name_and_forced(efficiency: dict[str, Any], tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(efficiency, out)
    before, described = (out / FILE).read_bytes(), (out / "study.json").read_bytes()
    changed = copy.deepcopy(efficiency)
    changed["methods"][1]["settings"]["steps"] = 1
    with pytest.raises(OutputError, match=r"6 cells were measured") as error:
        run(changed, out)
    assert "toy, scratch, settings, steps: 2 there, 1 now" in str(error.value)
    assert ((out / FILE).read_bytes(), (out / "study.json").read_bytes()) == (before, described)
    run(changed, out, force=True)
    assert [line["steps"] for line in lines(out)] == [0] * 4 + [1] * 6
    assert lines(out)[:4] == [line for line in map(json.loads, before.splitlines()) if line["steps"] == 0]


def test_new_defaults_make_those_cells_stale_that_took_them(
    efficiency: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_rate = {"name": "own rate", "settings": {"method": "scratch", "steps": 1, "lr": 1e-3}, "shots": [4]}
    config = efficiency | {"methods": [*efficiency["methods"], own_rate], "seeds": [0]}
    run(config, tmp_path / "out")
    before = DEFAULTS["scratch"].lr
    monkeypatch.setitem(DEFAULTS, "scratch", replace(DEFAULTS["scratch"], lr=3e-3))
    monkeypatch.setitem(DEFAULTS, "semi", replace(DEFAULTS["semi"], lr=3e-3))  # no step of which is taken
    with pytest.raises(OutputError, match=r"^3 cells were measured") as error:
        run(config, tmp_path / "out")
    assert f"toy, scratch, defaults, lr: {before} there, 0.003 now" in str(error.value)
    assert "own rate" not in str(error.value)


def test_other_data_under_the_same_name_are_refused(efficiency: dict[str, Any], tmp_path: Path) -> None:
    run(efficiency, tmp_path / "out")
    test = Path(efficiency["targets"][0]["test"])
    test.write_text(test.read_text().replace("red", "blue"))
    with pytest.raises(OutputError, match="toy, zero, data"):
        run(efficiency, tmp_path / "out")


@pytest.mark.parametrize(("part", "stale"), [("hypernetwork", {"zero"}), ("projector", {"zero", "lora"}), ("", set())])
def test_new_weights_make_only_those_cells_stale_that_read_them(
    efficiency: dict[str, Any], tmp_path: Path, part: str, stale: set[str]
) -> None:
    lora = {"name": "lora", "settings": {"method": "lora", "steps": 1}, "shots": [4]}
    foundation, mine = Foundation.load(efficiency["foundations"][0], device="cpu"), tmp_path / "foundation"
    foundation.save(mine)
    config = efficiency | {"foundations": [str(mine)], "methods": [*efficiency["methods"], lora], "seeds": [0]}
    run(config, tmp_path / "out")
    module = {"hypernetwork": foundation.hypernetwork(), "projector": foundation.projector}.get(part)
    for weight in module.parameters() if module else []:
        weight.mul_(1.5).add_(0.25)
    foundation.save(mine, force=True)
    study.foundation_in_memory.cache_clear()
    before = (tmp_path / "out" / "results.jsonl").read_bytes()
    if stale:
        with pytest.raises(OutputError, match="foundation") as error:
            run(config, tmp_path / "out")
        assert all(f"toy, {name}" in str(error.value) for name in stale)
    run(config, tmp_path / "out", force=True)
    after = (tmp_path / "out" / "results.jsonl").read_bytes()
    kept = [line for line in before.splitlines() if json.loads(line)["cell"]["method"] not in stale]
    assert set(kept) <= set(after.splitlines())
    assert (before == after) == (not stale)


def test_a_hypernetwork_that_the_foundation_lacks_is_refused_before_work(
    efficiency: dict[str, Any], tmp_path: Path
) -> None:
    efficiency["methods"][0]["settings"] |= {"hypernetwork": "attention"}
    with pytest.raises(InputError, match="zero: semi/attention"):
        run(efficiency, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_cell_that_fails_is_named_and_tried_again(
    efficiency: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = study.make

    def fragile(foundation: Any, modality: Any, support: Any, settings: Any, seed: int) -> Any:
        if seed == 1 and settings["method"] == "scratch":
            raise SemiError("it broke") if len(support) == 4 else ZeroDivisionError("by zero")
        return real(foundation, modality, support, settings, seed)

    monkeypatch.setattr(study, "make", fragile)
    run(efficiency, tmp_path / "out")
    summary = report_efficiency(tmp_path / "out")
    assert summary["measured"] == CELLS - 3
    assert len(summary["failed"]) == 3
    assert summary["failed"][0].endswith("toy, scratch, 4 shots, seed 1: it broke")
    assert "ZeroDivisionError: by zero" in summary["failed"][1]
    monkeypatch.setattr(study, "make", real)
    run(efficiency, tmp_path / "out")
    summary = report_efficiency(tmp_path / "out")
    assert (summary["measured"], summary["failed"]) == (CELLS, [])


def test_more_shots_than_there_are_samples_are_left_out_and_told(efficiency: dict[str, Any], tmp_path: Path) -> None:
    efficiency["methods"][0]["shots"].append(61)
    run(efficiency, tmp_path / "out")
    assert report_efficiency(tmp_path / "out")["left_out"] == ["toy, zero: 61 shots, but 60 samples to draw them from"]


def test_a_method_with_a_foundation_of_its_own_is_measured_with_that_alone(efficiency: dict[str, Any]) -> None:
    config = efficiency | {"foundations": ["a", "b"]}
    config["methods"][1]["foundation"] = "b"
    cells = [cell for cell, _, _ in study.cells(read_efficiency(config))]
    assert {cell["foundation"] for cell in cells if cell["method"] == "scratch"} == {"b"}
    assert len(cells) == 2 * 4 + 6


@pytest.mark.parametrize("content", ["notes.txt", "stress"])
def test_a_folder_of_something_else_is_left_alone(efficiency: dict[str, Any], tmp_path: Path, content: str) -> None:
    out = tmp_path / "out"
    out.mkdir()
    if content == "stress":
        (out / "study.json").write_text('{"kind": "stress", "config": {}, "targets": {}, "versions": {}}')
    else:
        (out / content).write_text("mine")
    before = sorted(out.iterdir())
    with pytest.raises(OutputError, match="another study" if content == "stress" else "holds no study"):
        run(efficiency, out)
    assert sorted(out.iterdir()) == before


def test_a_report_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"study\.json does not exist"):
        report_efficiency(tmp_path)


def test_the_report_is_self_contained_and_escapes_everything(
    efficiency: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    test = Path(efficiency["targets"][0]["test"])
    test.write_text(test.read_text().replace('"caption": "', '"caption": "<script>alert(1)</script> & '))
    run(efficiency | {"generate": 1, "seeds": [0]}, tmp_path / "out")
    summary = report_efficiency(tmp_path / "out")
    assert summary["drawn"]
    text = (tmp_path / "out" / "report.html").read_text()
    for outside in ("<script", 'src="http', "href=", "url("):
        assert outside not in text
    assert "&lt;script&gt;" in text
    assert "data:image/svg+xml;base64," in text
    assert (tmp_path / "out" / "curves.png").read_bytes().startswith(b"\x89PNG")
    first = [(tmp_path / "out" / name).read_bytes() for name in ("curves.svg", "summary.json", "report.html")]
    report_efficiency(tmp_path / "out")
    assert first == [(tmp_path / "out" / name).read_bytes() for name in ("curves.svg", "summary.json", "report.html")]
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    (tmp_path / "out" / "curves.svg").unlink()
    assert not report_efficiency(tmp_path / "out")["drawn"]
    assert "matplotlib is missing" in (tmp_path / "out" / "report.html").read_text()
