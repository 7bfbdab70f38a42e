"""The tab "Curve": how good after how many shots, from the summary of a study."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path

import gradio as gr

from semi.ui.drawing import Point, curves
from semi.ui.showing import table
from semi.ui.summary import MEASURES, read_summary
from semi.ui.telling import Update, telling


def build(page: gr.Blocks, study: Path) -> None:
    """Lay out the tab in the Blocks around."""
    problem = gr.HTML()
    with gr.Row():
        target = gr.Dropdown([], label="Target", min_width=240)
        labelled = [(label, name) for name, label in MEASURES.items()]
        measure = gr.Dropdown(labelled, value="loss", label="Measure", min_width=240)
    figure = gr.HTML()

    @telling(problem)
    def draw(wanted: str | None, name: str) -> Update:
        found = read_summary(study)["rows"]
        targets = list(dict.fromkeys(row["target"] for row in found))
        wanted = wanted if wanted in targets else targets[0]
        shown = [row for row in found if row["target"] == wanted and row[name]]
        series: dict[str, list[Point]] = {}
        for row in shown:
            series.setdefault(row["method"], []).append(Point(row["shots"], row[name]["mean"], row[name]["se"]))
        drawn = curves(series, x="shots", y=MEASURES[name], title=f"{wanted}: {MEASURES[name]} over shots")
        rows = table(
            ("method", "shots", "score"), [(escape(r["method"]), str(r["shots"]), _number(r[name])) for r in shown]
        )
        return {target: gr.update(choices=targets, value=wanted), figure: drawn + rows}

    for event in (page.load, target.input, measure.input):
        event(draw, [target, measure], [problem, target, figure], api_visibility="private")


def _number(value: Mapping[str, float | None]) -> str:
    return f"{value['mean']:.3f}" + (f" ± {value['se']:.3f}" if value["se"] is not None else "")
