"""Times of all kernels against all providers, with floors, ceilings and errors."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

from gpu_stages.context import Context
from semi_kernels.bench import Bench, Case, Row, document, grid, tiny, write_csv
from semi_kernels.bench.chart import draw as draw_chart


def run(context: Context, state: dict[str, Any]) -> None:
    """state["rows"]; cases that are in state["done"] are not repeated."""
    rows: list[Row] = state.setdefault("rows", [])
    done: list[str] = state.setdefault("done", [])
    state.update(document(context.device, rows, state.get("notes", [])))
    state["rows"] = rows
    bench = Bench(context.device, quick=context.tiny)
    try:
        for case in _cases(context):
            name = json.dumps(case.asdict(), sort_keys=True)
            if name in done:
                continue
            context.check("grid", state)
            rows += bench.measure(case)
            done.append(name)
    finally:
        state["summary"] = _targets(rows)
        if rows:
            write_csv(context.folder / "grid.csv", rows)
        if find_spec("matplotlib") and any(row["p50_us"] is not None for row in rows):
            draw_chart(state, context.folder / "grid.png")


def _cases(context: Context) -> Iterator[Case]:
    """The layers and rows of the design's table first, then what else there is of each kernel, in turns."""
    if context.tiny:
        for kernel in ("fused_lora", "projector_mlp", "nf4_linear", "q4_linear", "masked_nf4_linear", "isometry"):
            yield from tiny(kernel)
        return
    main = grid("fused_lora")
    core = [case for case in main if case.mode == "fwd" and case.quantisation != "q4_1" and case.isometry == "none"]
    core = [case for case in core if case.G == 1 and case.dtype == "bf16"]
    yield from core
    others = [grid("nf4_linear"), grid("projector_mlp"), [case for case in main if case not in core]]
    others += [grid("q4_linear"), grid("masked_nf4_linear"), grid("isometry")]
    for turn in range(max(map(len, others))):
        yield from (cases[turn] for cases in others if turn < len(cases))


def _targets(rows: list[Row]) -> list[str]:
    """What the design asks for, and what was found; nothing where nothing was measured on a GPU."""
    ours = [row for row in rows if row["provider"] == "ours" and row["launch"] == "graph" and row["p50_us"]]
    lines = [f"{len(rows)} rows, {sum(row['p50_us'] is not None for row in rows)} of them timed"]
    few = [row for row in ours if row["M"] <= 64 and row["mode"] == "fwd" and row["floor_us"]]
    if few:
        within = [row["p50_us"] / row["floor_us"] for row in few]
        share = sum(ratio <= 1.5 for ratio in within) / len(within)
        lines.append(f"M <= 64: median {statistics.median(within):.2f}x the floor, {share:.0%} of rows within 1.5x")
    many = [row for row in ours if row["M"] >= 1024 and row["versus"] and row["ceiling"]]
    if many:
        reached = [row["versus"]["ratio"] / row["ceiling"] for row in many]
        lines.append(f"M >= 1024: median {statistics.median(reached):.0%} of the ceiling, worst {min(reached):.0%}")
    judged = [row for row in ours if row["versus"]]
    if judged:
        lost = [row for row in judged if row["versus"]["ratio"] < 0.97]
        worst = min(judged, key=lambda row: float(row["versus"]["ratio"]))
        lines.append(f"{len(lost)} of {len(judged)} shapes below 0.97x the best peer; worst {_line(worst)}")
        lines += [f"no win: {_line(row)}" for row in sorted(lost, key=lambda row: float(row["versus"]["ratio"]))[:15]]
    return lines


def _line(row: Row) -> str:
    shape = f"{row['kernel']} {row['M']}x{row['K']}->{row['N']} {row['quantisation']} {row['mode']} {row['isometry']}"
    return f"{shape} G={row['G']}: {row['versus']['ratio']:.2f}x {row['versus']['provider']}"
