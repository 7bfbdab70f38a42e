"""The tab "Add a sensor": pairs in, an adaptation watched, answers compared, an integration saved."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gradio as gr

from semi.errors import InputError
from semi.pairs_io.labelled import TEMPLATE
from semi.plugins import list_plugins, load_modality
from semi.settings import Settings
from semi.ui import trying
from semi.ui.dropped import lay_out, pairs_of
from semi.ui.job import Job, Order, divide
from semi.ui.showing import answers, diagnosis, notice, work
from semi.ui.telling import Update, telling, telling_on
from semi.ui.workshop import Workshop

SHOTS, HELD = 32, 4
EVERY_S = 0.4
"""Between two looks at an adaptation."""
PAIRS = "A .jsonl or .csv file with sample and caption, or samples (.npy, .npz) and their labels (.csv)"


def modalities() -> list[str]:
    """Names that can be chosen, by metadata alone."""
    return [p.name for p in list_plugins() if p.kind == "modality" and p.state in ("available", "loaded")]


def steps_of(text: str) -> int | None:
    """The number that was typed; None: none was, and it is to be found on the pairs.

    Raises:
        InputError: something else was typed.
    """
    text = text.strip()
    if text and not (text.isascii() and text.isdigit()):
        raise InputError("gradient steps are a whole number", got=text, do="type one from 0 on, or leave it empty")
    return int(text) if text else None


def build(page: gr.Blocks, workshop: Workshop) -> None:
    """Lay out the tab in the Blocks around."""
    modality = gr.Dropdown(modalities(), value="vectors", label="Modality", info="vectors: of your own encoder")
    files = gr.File(label=f"Pairs, about {SHOTS}", file_count="multiple", height=150, elem_id="pairs")
    gr.HTML(notice(f"{PAIRS}. Files that a table names go beside it."))
    with gr.Accordion("More settings", open=False):
        with gr.Row():
            shots = gr.Number(SHOTS, label="Pairs to learn from, at most", minimum=2, precision=0)
            held = gr.Number(HELD, label="Pairs kept back to compare answers on", minimum=0, maximum=32, precision=0)
        with gr.Row():
            info = "Empty: found on the pairs."
            # no gr.Number: once it is shown, an empty one is 0
            steps = gr.Textbox("", label="Gradient steps", info=info, placeholder="automatic", max_length=9)
            seed = gr.Number(0, label="Seed", minimum=0, precision=0)
        encoder = gr.Dropdown(["default"], value="default", label="Encoder")
        template = gr.Textbox(TEMPLATE, label="Caption of a class label", info="With {label} in it.", max_length=500)
    with gr.Row():
        start = gr.Button("Learn", variant="primary", elem_id="learn")
        stop = gr.Button("Stop", variant="stop", interactive=False, elem_id="stop")
    problem, progress = gr.HTML(), gr.HTML()
    with gr.Column(visible=False) as learned:
        gr.Markdown("### Answers on pairs kept back")
        compared = gr.HTML()
        gr.Markdown("### Pairs left out, one by one")
        judged = gr.HTML()
        trying.build(workshop)

    seen = [progress, start, stop, learned, compared, judged]

    def show(job: Job) -> Update:
        running = job.state == "running"
        update: Update = {progress: work(job), start: gr.update(interactive=not running)}
        update |= {stop: gr.update(interactive=running), learned: gr.update(visible=job.outcome is not None)}
        if job.outcome is not None:
            held_back = answers(job.outcome.answers, job.order.modality) if job.outcome.answers else notice("none")
            update |= {compared: held_back, judged: diagnosis(job.outcome.after)}
        return update

    def watch(job: Job | None) -> Iterator[Update]:
        if job is None:
            return
        yield show(job)
        while not job.wait(EVERY_S):
            yield show(job)
        yield show(job)

    @telling_on(problem)
    def learn(
        name: str, dropped: list[str], template: str, encoder: str, steps: str, *numbers: float | None
    ) -> Iterator[Update]:
        kind, chosen_steps = load_modality(name), steps_of(steps)
        shots, held, seed = (None if number is None else int(number) for number in numbers)
        found = pairs_of(lay_out(dropped or [], workshop.drop()), kind, template)
        order = Order(
            kind,
            *divide(found.pairs, SHOTS if shots is None else shots, held or 0, seed or 0),
            Settings(steps=chosen_steps, seed=seed or 0, encoder=None if encoder == "default" else encoder),
        )
        yield from watch(workshop.start(order))

    @telling_on(problem)
    def again() -> Iterator[Update]:
        """Of a page that is opened or loaded anew while something is learned."""
        yield from watch(workshop.job)

    @telling(problem)
    def cancel() -> Update:
        if workshop.job is None:
            raise InputError("nothing is being learned")
        workshop.job.cancel()
        return {stop: gr.update(interactive=False)}

    @telling(problem)
    def chosen(name: str) -> Update:
        names = load_modality(name).encoders
        return {encoder: gr.update(choices=list(names), value=names[0])}

    given = [modality, files, template, encoder, steps, shots, held, seed]
    quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    start.click(learn, given, [problem, *seen], concurrency_limit=None, **quiet)
    stop.click(cancel, None, [problem, stop], **quiet)
    modality.change(chosen, modality, [problem, encoder], **quiet)
    page.load(again, None, [problem, *seen], concurrency_limit=None, **quiet)
