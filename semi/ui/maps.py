"""The tab "Map": where the support samples of an integration lie, and its adapter among the others."""

from __future__ import annotations

import gradio as gr

from semi.integration import Parts
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
        found = workshop.adapters(parts.record.foundation)
        beside = notice(NONE)
        if len(found) > 1:
            beside = scatter(place_adapters(list(found.values())).tolist(), list(found), "Adapters, by what they write")
        return {
            name: gr.update(choices=names, value=wanted),
            samples: support(parts, str(wanted), how),
            adapters: beside,
        }

    @telling(problem)
    def draw_samples(wanted: str | None, how: Method) -> Update:
        """Alone, so that what does not change is not covered meanwhile."""
        return {samples: support(workshop.parts(wanted), str(wanted), how)}

    for event in (tab.select, name.input):
        event(draw, [name, method], [problem, name, samples, adapters], api_visibility="private")
    method.input(draw_samples, [name, method], [problem, samples], api_visibility="private")


def support(parts: Parts, name: str, how: Method) -> str:
    """The map of an integration's support samples."""
    places = place(parts.memory.embeddings.float(), how).tolist()
    return scatter(places, parts.memory.labels, f"Support samples of {name}, by {how}")
