"""The page: its tabs, and nothing that knows of networks."""

from __future__ import annotations

from pathlib import Path

import gradio as gr

from semi.ui import adding, curves, health, live, maps
from semi.ui.workshop import Workshop

HEAD = (
    '<div class="semi-head"><h1>semi</h1><p>Teach a frozen language model a new sensor from about 32 pairs.</p></div>'
)


def page(workshop: Workshop, study: Path | None = None) -> gr.Blocks:
    """The page of a workshop.

    Args:
        study: a folder that `semi study sample-efficiency` filled; None: no tab for it.
    """
    made = gr.Blocks(title="semi", analytics_enabled=False)
    with made:
        gr.HTML(HEAD)
        with gr.Tabs():
            with gr.Tab("Add a sensor"):
                adding.build(made, workshop)
            with gr.Tab("Map") as tab:
                maps.build(tab, workshop)
            with gr.Tab("Live") as tab:
                live.build(tab, workshop)
            if study is not None:
                with gr.Tab("Curve"):
                    curves.build(made, study)
            with gr.Tab("Health"):
                health.build(made)
    return made
