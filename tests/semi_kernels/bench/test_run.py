"""Measuring on a CPU: honest rows, right results, nothing made up."""

from __future__ import annotations

import csv
import json
import time
from copy import deepcopy
from pathlib import Path

import pytest
import torch

from semi_kernels.bench import COLUMNS, NO_WIN, Bench, Case, document, read, tiny, write_csv, write_json
from semi_kernels.bench.accuracy import error, results, truth
from semi_kernels.bench.chart import draw as draw_chart
from semi_kernels.bench.problems import draw
from semi_kernels.bench.providers import BITSANDBYTES, EAGER, OURS, PROVIDERS, UNSLOTH
from semi_kernels.bench.providers import COLUMNS as RANK_AS_COLUMNS
from semi_kernels.bench.providers.base import Prepared, Provider
from semi_kernels.bench.timers import Timing, copies_for_cold_cache, side_by_side
from semi_kernels.bench.tune import slug, tune, using, write

CPU = torch.device("cpu")
CASE = Case("fused_lora", 17, 64, 96, r=4, dtype="fp32")


def bench(*providers: Provider) -> Bench:
    return Bench(CPU, quick=True, providers=providers or PROVIDERS)


@pytest.mark.parametrize("case", tiny("fused_lora"), ids=str)
def test_every_provider_computes_the_same(case: Case) -> None:
    problem = draw(case, CPU)
    right = truth(problem)
    for provider in (EAGER, RANK_AS_COLUMNS, UNSLOTH, BITSANDBYTES, OURS):
        if provider.obstacle(case, CPU) is None:
            wrong = error(results(problem, provider.prepare(problem)), right)
            assert wrong < (0.1 if provider is BITSANDBYTES else 1e-5), provider.name


def test_what_is_wrong_is_seen() -> None:
    problem = draw(CASE, CPU)
    right = truth(problem)
    assert error([right[0] + 0.5], right) > 0.1
    assert error([right[0] * float("nan")], right) == float("inf")


def test_rows_have_the_promised_columns_and_floors_are_not_taken_for_times() -> None:
    rows = bench().measure(CASE)
    assert [row["provider"] for row in rows] == [provider.name for provider in PROVIDERS]
    for row in rows:
        assert set(row) == set(COLUMNS)
        assert row["floor_terms"]["gpu"] == "NVIDIA H200"
        assert row["floor_terms"]["t_null_us"] is None
        assert row["percent_of_floor"] is None
        assert row["ceiling"] is None
        assert row["launches"] is None
        assert row["floor_us"] > 0


def test_what_was_not_measured_has_no_figure_but_a_reason() -> None:
    rows = bench().measure(CASE)
    missing = [row for row in rows if row["p50_us"] is None]
    assert {row["provider"] for row in missing} == {"torch.compile", "bitsandbytes+PEFT"}
    for row in missing:
        assert (row["p20_us"], row["p80_us"], row["max_error"], row["versus"]) == (None, None, None, None)
        assert row["note"]
    for row in rows:
        if row["p50_us"] is not None:
            assert 0 < row["p20_us"] <= row["p50_us"] <= row["p80_us"]
            assert row["max_error"] < 1e-5


def test_a_provider_that_breaks_is_a_row_that_says_so() -> None:
    def broken(problem: object) -> Prepared:
        raise RuntimeError("no such kernel")

    row, other = bench(Provider("broken", lambda case, device: None, broken, lambda case: None), EAGER).measure(CASE)
    assert row["p50_us"] is None
    assert row["note"] == "failed: RuntimeError: no such kernel"
    assert other["p50_us"] > 0


@pytest.mark.parametrize(("ours", "peer", "wins"), [(0.004, 0.0, False), (0.0, 0.004, True)])
def test_no_win_is_said(ours: float, peer: float, wins: bool) -> None:
    def slow(name: str, seconds: float) -> Provider:
        def prepare(problem: object) -> Prepared:
            return Prepared(lambda: time.sleep(seconds) or result, [])

        return Provider(name, lambda case, device: None, prepare, lambda case: None)

    result = EAGER.prepare(draw(CASE, CPU)).call()
    row, _ = bench(slow("ours", ours), slow("peer", peer)).measure(CASE)
    assert row["versus"]["provider"] == "peer"
    assert (row["versus"]["ratio"] > 1) == wins
    assert (NO_WIN in row["note"]) != wins


def test_a_document_goes_to_json_and_csv(tmp_path: Path) -> None:
    rows = bench(OURS, EAGER).measure(CASE)
    found = document(CPU, rows, ["There is no GPU"])
    write_json(tmp_path / "run.json", found)
    write_csv(tmp_path / "run.csv", rows)
    assert read(tmp_path / "run.json") == json.loads(json.dumps(found))
    assert found["gpu"] is None
    assert found["driver"] is None
    assert {"torch", "triton", "revision", "rows"} <= set(found)
    with open(tmp_path / "run.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["provider"] for line in lines] == ["ours", "eager"]
    assert float(lines[1]["p50_us"]) == rows[1]["p50_us"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run.csv", "run.json"]


@pytest.mark.parametrize("content", ["{", "[]", '{"rows": [{"kernel": "fused_lora"}]}', None])
def test_a_file_that_is_none_of_the_bench(content: str | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "run.json").write_text(content)
    with pytest.raises(ValueError, match=r"run\.json.*expected"):
        read(tmp_path / "run.json")


def test_a_chart_is_a_picture(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    clock = bench(OURS, EAGER)
    rows = [row for M in (1, 4) for row in clock.measure(Case("fused_lora", M, 64, 96, r=4, dtype="fp32"))]
    draw_chart(document(CPU, rows), tmp_path / "chart.png")
    assert (tmp_path / "chart.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="no measured row"):
        draw_chart(document(CPU, []), tmp_path / "none.png")


def test_the_interpreter_is_never_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    monkeypatch.setenv("SEMI_KERNELS", "triton")
    with pytest.raises(ValueError, match="TRITON_INTERPRET"):
        Bench(CPU)
    monkeypatch.setenv("SEMI_KERNELS", "auto")
    with pytest.raises(ValueError, match="TRITON_INTERPRET"):
        Bench(torch.device("cuda"))
    Bench(CPU)  # there the reference is timed


def test_tuning_needs_a_gpu() -> None:
    with pytest.raises(ValueError, match="no GPU"):
        tune(CPU)


def test_a_configuration_under_trial_is_the_only_one() -> None:
    from semi_kernels import configurations

    before = configurations.nearest("NVIDIA H200", (9, 0))
    trial = deepcopy(before)
    trial["fused_lora"][0]["num_warps"] = 8

    def warps() -> int:
        on = configurations.H200
        return configurations.few_rows(on, M=1, N=2048, layout="dense", itemsize=2, rank=32).num_warps

    usual = warps()
    with using(trial):
        assert warps() == 8 != usual
    assert warps() == usual
    assert slug("NVIDIA A100-SXM4-80GB") == "a100-sxm4-80gb"


def test_percentiles() -> None:
    assert Timing.of([3.0]) == Timing(3.0, 3.0, 3.0)
    assert Timing.of([5, 1, 2, 3, 4, 0]) == Timing(1.0, 2.5, 4.0)


def test_contenders_take_turns() -> None:
    turns: list[str] = []
    calls = [[lambda: turns.append("a")], [lambda: turns.append("b1"), lambda: turns.append("b2")]]
    side_by_side(calls, seconds=0, rounds=(4, 9))
    assert turns == ["a", "a", "b1", "b2", "a", "b1", "b2", "a", "a", "b1", "b2", "a"]


def test_enough_copies_to_leave_the_cache() -> None:
    assert copies_for_cold_cache(10**9, CPU) == 2
    assert copies_for_cold_cache(1, CPU, most=4) == 4
    assert copies_for_cold_cache(2**20, CPU) == 24


def test_clones_share_nothing() -> None:
    problem = draw(Case("fused_lora", 3, 64, 96, r=4, dtype="fp32", quantisation="nf4", mode="full"), CPU)
    other = problem.clone(1)
    assert not torch.equal(problem.x, other.x)
    assert other.x.requires_grad
    mine, theirs = (p.first.weight.tensors()[0] for p in (problem, other))  # type: ignore[union-attr]
    assert torch.equal(mine, theirs)
    assert mine.data_ptr() != theirs.data_ptr()


def test_a_tuned_configuration_is_found_where_it_was_written(tmp_path: Path) -> None:
    from semi_kernels import configurations

    file = deepcopy(configurations.nearest("NVIDIA H200", (9, 0)))
    path = write({**file, "gpu": "NVIDIA H200 NVL"}, tmp_path)
    assert path == tmp_path / "h200-nvl.json"
    assert json.loads(path.read_text())["fused_lora"] == file["fused_lora"]
