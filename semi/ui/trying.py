"""What can be done with what was learned: ask about one more sample, and save it."""

from __future__ import annotations

import shlex

import gradio as gr

from semi.ui.dropped import lay_out, sample_of
from semi.ui.showing import answers, nearest, notice
from semi.ui.telling import Update, telling
from semi.ui.workshop import Workshop


def build(workshop: Workshop) -> None:
    """Lay out both in the Blocks around."""
    gr.Markdown("### Try a sample")
    with gr.Row():
        text = gr.Textbox(label="A sample, typed", info="E.g. a SMILES, or [0.1, 0.2]", max_length=1_000_000, lines=3)
        file = gr.File(label="or a file", height=150, elem_id="sample")
    question = gr.Textbox(label="Question, if you like", info="Instead of the modality's own.", max_length=1000)
    ask = gr.Button("Ask", elem_id="ask")
    wrong, said = gr.HTML(), gr.HTML()
    gr.Markdown("### Save")
    name = gr.Textbox(
        label="Name of the integration", info=f"A folder of this name in {workshop.folder}", max_length=64
    )
    replace = gr.Checkbox(label="Replace one of that name")
    save = gr.Button("Save", elem_id="save")
    unsaved, saved = gr.HTML(), gr.HTML()

    @telling(wrong)
    def answer(typed: str, dropped: str | None, asked: str) -> Update:
        outcome = workshop.outcome()
        modality = outcome.after.modality
        raw = sample_of(typed, lay_out([dropped], workshop.drop()) if dropped else [], modality)
        with workshop.working("answering"):
            row = outcome.answer([raw], [""], asked.strip() or None)
        return {said: answers(row, modality) + nearest(row[0].after.nearest)}

    @telling(unsaved)
    def keep(wanted: str, force: bool) -> Update:
        folder = workshop.save(wanted.strip(), force=force)
        return {saved: notice(f"Saved. On the command line: semi describe {shlex.quote(str(folder))} SAMPLE")}

    ask.click(answer, [text, file, question], [wrong, said], api_visibility="private")
    save.click(keep, [name, replace], [unsaved, saved], api_visibility="private")
