"""`semi bench` on a machine without a GPU."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from semi_kernels.bench import COLUMNS, Case
from semi_kernels.bench import cases as bench_cases

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="says what a machine without a GPU says")


@pytest.fixture(autouse=True)
def tiny_cases(monkeypatch: pytest.MonkeyPatch) -> None:
    """The verb as it is, at shapes of milliseconds."""
    import semi_kernels.bench as bench

    def small(kernel: str, dtype: str = "fp32", *, quick: bool = False) -> list[Case]:
        return bench_cases.tiny(kernel, dtype)[:3]

    monkeypatch.setattr(bench, "small", small)


def only(folder: Path, ending: str) -> Path:
    (found,) = folder.glob(f"*{ending}")
    return found


def test_a_table_and_two_files(work: Path, semi: Callable[..., Any]) -> None:
    result = semi("bench", "--kernel", "fused_lora", "--quick", "--quiet")
    assert result.exit_code == 0, result.stderr
    assert "There is no GPU" in result.stdout
    assert "The floors are those of an NVIDIA H200" in result.stdout
    assert "torch.compile was not timed" in result.stdout
    found = json.loads(only(work / "bench", ".json").read_text())
    with open(only(work / "bench", ".csv"), newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["provider"] for line in lines] == [row["provider"] for row in found["rows"]]
    assert tuple(lines[0]) == COLUMNS


def test_json_and_nothing_else(work: Path, semi: Callable[..., Any]) -> None:
    result = semi("bench", "--quick", "--json", "--dtype", "bf16", "--out", "results")
    assert (result.exit_code, result.stderr) == (0, "")
    found = json.loads(result.stdout)
    assert found["gpu"] is None
    assert any("no GPU" in note for note in found["notes"])
    assert {row["dtype"] for row in found["rows"]} == {"bf16"}
    for row in found["rows"]:
        assert row["percent_of_floor"] is None
        assert (row["p50_us"] is None) == (row["p20_us"] is None)
        assert row["p50_us"] or row["note"]
    assert json.loads(only(work / "results", ".json").read_text()) == found


def test_an_earlier_run_that_was_faster_ends_with_1(work: Path, semi: Callable[..., Any]) -> None:
    found = json.loads(semi("bench", "--quick", "--json").stdout)
    (work / "same.json").write_text(json.dumps(_scaled(found, 1e3)))
    assert semi("bench", "--quick", "--quiet", "--compare", "same.json").exit_code == 0
    (work / "faster.json").write_text(json.dumps(_scaled(found, 1e-3)))
    result = semi("bench", "--quick", "--quiet", "--compare", "faster.json")
    assert result.exit_code == 1
    assert "slower" in result.stdout


def _scaled(found: dict[str, Any], factor: float) -> dict[str, Any]:
    names = ("p20_us", "p50_us", "p80_us")
    rows = [{**row, **{n: row[n] and row[n] * factor for n in names}} for row in found["rows"]]
    return {**found, "rows": rows}


def test_a_chart(work: Path, semi: Callable[..., Any]) -> None:
    pytest.importorskip("matplotlib")
    assert semi("bench", "--quick", "--quiet", "--chart", "chart.png").exit_code == 0
    assert (work / "chart.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--dtype", "int8"), "fp32, fp16, bf16"),
        (("--compare", "gone.json"), "gone.json"),
        (("--tune",), "no GPU"),
    ],
    ids=["dtype", "compare", "tune"],
)
def test_what_is_refused(arguments: tuple[str, ...], says: str, refused: Callable[..., str]) -> None:
    refused("bench", "--quick", *arguments, says=(says,))


def test_an_unknown_kernel_is_refused(refused: Callable[..., str]) -> None:
    refused("bench", "--kernel", "gemm", says=("fused_lora",))


def test_the_interpreter_is_refused(monkeypatch: pytest.MonkeyPatch, refused: Callable[..., str]) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    monkeypatch.setenv("SEMI_KERNELS", "triton")
    refused("bench", "--quick", says=("TRITON_INTERPRET",))
