"""The tab "Map": where the support samples of an integration lie, and its adapter among the others."""

from __future__ import annotations

import gradio as gr

from semi.ui.drawing import scatter
from semi.ui.places import Method, methods, place, place_adapters
from semi.ui.showing import notice
from semi.ui.telling import Update, telling
from semi.ui.workshop import Workshop

NONE = "Adapters are compared once two integrations of this foundation have one."


def build(tab: gr.Tab, workshop: Workshop) -> None:
    """Lay out the tab in the Blocks around."""
    problem = gr.HTML()
    with gr.Row():
        name = gr.Dropdown([], label="Integration")
        method = gr.Radio(methods(), value="PCA", label="Map by")
    samples, adapters = gr.HTML(), gr.HTML()

    @telling(problem)
    def draw(wanted: str | None, how: Method) -> Update:
        names = workshop.saved()
        wanted = wanted if wanted in names else next(iter(names), None)
        parts = workshop.parts(wanted)
        places = place(parts.memory.embeddings.float(), how).tolist()
        found = workshop.adapters(parts.record.foundation)
        beside = notice(NONE)
        if len(found) > 1:
            beside = scatter(place_adapters(list(found.values())).tolist(), list(found), "Adapters, by what they write")
        return {
            name: gr.update(choices=names, value=wanted),
            samples: scatter(places, parts.memory.labels, f"Support samples of {wanted}, by {how}"),
            adapters: beside,
        }

    for event in (tab.select, name.input, method.input):
        event(draw, [name, method], [problem, name, samples, adapters], api_visibility="private")
