"""Summary, pictures and page of a sample-efficiency study, all from its lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from semi.artifacts import write_bytes, write_json
from semi.study import page
from semi.study.config import EfficiencyConfig
from semi.study.efficiency import KIND, cells, left_out
from semi.study.figures import draw_curves
from semi.study.results import Line, Results
from semi.study.run import configuration, failures
from semi.study.summary import summarise

EXAMPLES = 4
ROWS = ("target", "method", "shots", "cells", "loss", "shuffled", "attributes", "ROUGE-L", "CIDEr-D", "cosine", "s")
COMPARISONS = ("target", "method less", "shots", "measure", "difference", "95 % interval", "p", "p (Holm)")
MATCHES = ("target", "method", "baseline", "measure", "shots to match", "times")


def report_efficiency(folder: Path) -> dict[str, Any]:
    """Write summary.json, curves and report.html from what a folder holds; returns the summary.

    Raises:
        ArtifactError: the folder holds no such study, or its files are damaged.
    """
    study, config = configuration(folder, EfficiencyConfig)
    results = Results(folder)
    lines = [line for cell, _, _ in cells(config) if (line := results.get(cell)) is not None]
    measured = [line for line in lines if "error" not in line]
    sizes = {name: target["train"] for name, target in study["targets"].items()}
    summary = summarise(config, measured) | {
        "cells": len(list(cells(config))),
        "measured": len(measured),
        "failed": failures(lines),
        "left_out": left_out(config, sizes) if sizes else [],
    }
    write_json(folder / "summary.json", summary)
    summary["drawn"] = draw_curves(summary, folder)
    write_bytes(folder / "report.html", _render(study, config, summary, measured, folder).encode())
    return summary


def tables(summary: Mapping[str, Any]) -> list[tuple[Sequence[str], Sequence[Sequence[page.Cell]]]]:
    """What the terminal shows."""
    return [
        (ROWS, table_rows(summary)),
        (COMPARISONS, comparison_rows(summary)),
        (MATCHES, match_rows(summary)),
    ]


def table_rows(summary: Mapping[str, Any]) -> list[tuple[page.Cell, ...]]:
    """Of ROWS: means with standard errors."""
    names = ("loss", "loss_shuffled", "attribute_accuracy", "rouge_l", "cider_d", "cosine")
    return [
        (
            *(row[name] for name in ("target", "method", "shots", "cells")),
            *(page.number(row[name]) for name in names),
            page.number(row["seconds"], 0),
        )
        for row in summary["rows"]
    ]


def comparison_rows(summary: Mapping[str, Any]) -> list[tuple[page.Cell, ...]]:
    """Of COMPARISONS; of attributes it is the share missed."""
    return [
        (
            row["target"],
            f"{row['method']} - {row['baseline']}",
            row["shots"],
            row["measure"],
            f"{row['value']:+.3f}",
            f"{row['low']:+.3f} to {row['high']:+.3f}",
            f"{row['p']:.4f}",
            f"{row['p_holm']:.4f}",
        )
        for row in summary["comparisons"]
    ]


def match_rows(summary: Mapping[str, Any]) -> list[tuple[page.Cell, ...]]:
    """Of MATCHES: how many shots a baseline needs, and how many times as many that is."""
    return [
        (row["target"], row["method"], row["baseline"], row["measure"], row["shown"], _times(row))
        for row in summary["matches"]
    ]


def _times(row: Mapping[str, Any]) -> str:
    if row["value"] is None:
        return f"> {row['most'] / row['at_shots']:.0f}"
    return f"{'<= ' if row['value'] <= row['fewest'] else ''}{row['value'] / row['at_shots']:.1f}"


def _render(
    study: Mapping[str, Any], config: EfficiencyConfig, summary: Mapping[str, Any], lines: Sequence[Line], folder: Path
) -> str:
    about = (
        f"{summary['measured']} of {summary['cells']} cells. Means over {len(config.seeds)} draws of shots and "
        f"{len(config.foundations)} foundations, ± one standard error. Loss is in nats a caption token on held-out "
        "samples, lower is better; shuffled: the same captions against the wrong samples."
    )
    tests = (
        f"Intervals of 95 % by {config.draws} bootstrap draws of seeds and test samples, paired by both; p corrected "
        "by Holm over all rows of one method and measure. Below zero the method is better: fewer nats a token, fewer "
        "of the facts missed."
    )
    needed = (
        f"How many shots a baseline needs for what the method does with {config.match_shots}: its curve over log "
        "shots, made monotone, read off between the points. '> n': n were not enough."
    )
    problems = [*summary["failed"], *summary["left_out"]]
    return page.document(
        f"Sample efficiency: {', '.join(target.name for target in config.targets)}",
        [
            page.paragraph(about, "lead"),
            page.section("Curves", page.picture(folder / "curves.svg", "scores over shots, a panel a target")),
            page.section("Shots to match", page.paragraph(needed), page.table(MATCHES, match_rows(summary))),
            page.section("Differences", page.paragraph(tests), page.table(COMPARISONS, comparison_rows(summary))),
            page.section("All means", page.table(ROWS, table_rows(summary))),
            page.section("What the data share", page.table(*_sharing(study, summary))),
            page.section("What is said of samples not seen", _examples(study, config, lines)),
            page.section("Failed or left out", *map(page.paragraph, problems)),
            page.section("How it was made", page.settings(study, f"semi study {KIND} CONFIG --out {folder.name}")),
        ],
    )


def _sharing(study: Mapping[str, Any], summary: Mapping[str, Any]) -> tuple[Sequence[str], list[Sequence[page.Cell]]]:
    columns = ("target", "encoder", "width", "train", "test", "shots", "captions (shots)", "captions (test)", "shared")
    rows: dict[tuple[str, int], Sequence[page.Cell]] = {}
    for row in summary["rows"]:
        target = study["targets"].get(row["target"], {})
        known = [target.get(name) for name in ("encoder", "width", "train", "test")]
        counts = [page.number(row[name], 0) for name in ("captions_shots", "captions_held_out")]
        share = f"{100 * row['captions_shared']['mean']:.0f} %"
        rows.setdefault((row["target"], row["shots"]), [row["target"], *known, row["shots"], *counts, share])
    return columns, list(rows.values())


def _examples(study: Mapping[str, Any], config: EfficiencyConfig, lines: Sequence[Line]) -> str:
    """The first held-out samples of each target, and what every method said of them at the shots to match."""
    parts = []
    for name, target in study["targets"].items():
        chosen: dict[str, Line] = {}
        for line in lines:
            if line["cell"]["target"] == name and line["shots"] == config.match_shots and line["texts"]:
                chosen.setdefault(line["cell"]["method"], line)
        rows = [
            (sample["sample"], f"true: {sample['caption']}", *(line["texts"][i] for line in chosen.values()))
            for i, sample in enumerate(target["held_out"][:EXAMPLES])
            if chosen and all(i < len(line["texts"]) for line in chosen.values())
        ]
        parts.append(page.table((f"{name}, {config.match_shots} shots", "", *chosen), rows))
    return "".join(parts)
