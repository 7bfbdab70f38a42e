"""Summary, picture and page of a stress study, all from its lines."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from semi.artifacts import write_bytes, write_json
from semi.study import page
from semi.study.conditions import CONDITIONS
from semi.study.config import StressConfig
from semi.study.figures import draw_stress
from semi.study.results import Line, Results
from semi.study.run import configuration, failures, told
from semi.study.stress import KIND, PLAIN, adaptations
from semi.study.stress_summary import sentence, summarise

ROWS = ("method", "condition", "strength", "cells", "loss", "more than plain", "learned part kept", "marked", "AUROC")


def report_stress(folder: Path) -> dict[str, Any]:
    """Write summary.json, the picture and report.html from what a folder holds; returns the summary.

    Raises:
        ArtifactError: the folder holds no such study, or its files are damaged.
    """
    study, config = configuration(folder, StressConfig)
    results = Results(folder)
    cells = [cell for _, _, groups in adaptations(config) for group in groups for cell in group]
    lines = [line for cell in cells if (line := results.get(cell)) is not None]
    measured = [line for line in lines if not {"error", "left_out"} & set(line)]
    rows = summarise(measured)
    summary = {
        "rows": rows,
        "by_target": [
            {"target": target.name} | row
            for target in config.targets
            for row in summarise([line for line in measured if line["cell"]["target"] == target.name])
        ],
        "sentences": [sentence(rows, method.name) for method in config.methods],
        "cells": len(cells),
        "measured": len(measured),
        "failed": failures(lines),
        "left_out": _left_out(lines),
    }
    write_json(folder / "summary.json", summary)
    summary["drawn"] = draw_stress(summary, folder)
    write_bytes(folder / "report.html", _render(study, config, summary, folder).encode())
    return summary


def tables(summary: Mapping[str, Any]) -> list[tuple[Sequence[str], Sequence[Sequence[page.Cell]]]]:
    """What the terminal shows."""
    return [(ROWS, _rows(summary["rows"]))]


def _rows(rows: Sequence[Mapping[str, Any]]) -> list[tuple[page.Cell, ...]]:
    """Of ROWS, without a target."""
    return [
        (
            row["method"],
            row["condition"],
            None if row["condition"] == PLAIN[0] else f"{row['strength']:g}",
            row["cells"],
            *(page.number(row[name]) for name in ("loss", "damage", "kept", "marked", "auroc")),
        )
        for row in rows
    ]


def _left_out(lines: Sequence[Line]) -> list[str]:
    """Each reason once, with the first cell it was given for and how many there are."""
    found: dict[tuple[str, str, str], list[Line]] = defaultdict(list)
    for line in lines:
        if "left_out" in line:
            found[line["cell"]["target"], line["cell"]["condition"], line["left_out"]].append(line)
    return [f"{told(same[0]['cell'])} ({len(same)} cells): {reason}" for (_, _, reason), same in found.items()]


def _render(study: Mapping[str, Any], config: StressConfig, summary: Mapping[str, Any], folder: Path) -> str:
    about = (
        f"{summary['measured']} of {summary['cells']} cells: means over {len(config.targets)} targets, "
        f"{len(config.seeds)} draws of shots and {len(config.foundations)} foundations, ± one standard error. "
        "The learned part is what matched captions gain over shuffled ones without any trouble: 1 is all of it, 0 "
        "none, less than 0: the samples mislead. Marked: the share of samples called unlike anything seen; AUROC: how "
        "well their distance from the support set tells them from plain ones (0.5: not at all)."
    )
    strengths = [(c.name, CONDITIONS[c.name].strength, _first_sentence(c.name)) for c in config.conditions]
    by_target = [(row["target"], *cells) for row, cells in _with_cells(summary["by_target"])]
    problems = [*summary["failed"], *summary["left_out"]]
    return page.document(
        f"Stress: {', '.join(target.name for target in config.targets)}",
        [
            *(page.paragraph(text, "lead") for text in summary["sentences"]),
            page.paragraph(about),
            page.section("Under stress", page.picture(folder / "stress.svg", "what is kept, a panel a condition")),
            page.section("All targets", page.table(ROWS, _rows(summary["rows"]))),
            page.section("What the strengths are", page.table(("condition", "strength", "what is done"), strengths)),
            page.section("Target by target", page.table(("target", *ROWS), by_target)),
            page.section("Failed or left out", *map(page.paragraph, problems)),
            page.section("How it was made", page.settings(study, f"semi study {KIND} CONFIG --out {folder.name}")),
        ],
    )


def _with_cells(rows: Sequence[Mapping[str, Any]]) -> list[tuple[Mapping[str, Any], tuple[page.Cell, ...]]]:
    return list(zip(rows, _rows(rows), strict=True))


def _first_sentence(condition: str) -> str:
    """What a condition does: the first line of its docstring; attacks have theirs elsewhere."""
    if CONDITIONS[condition].stage == "attack":
        return "The embedding moves by its gradient so that its own caption becomes less likely."
    return (CONDITIONS[condition].change.__doc__ or "").strip().splitlines()[0]
