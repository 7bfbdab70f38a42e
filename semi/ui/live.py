"""The tab "Live": a recording replayed into a session, with labels, age, gaps and latency."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from threading import Event
from typing import Any

import gradio as gr

from semi.integration import Integration, Parts
from semi.streams.session import Session
from semi.streams.sources import open_source
from semi.streams.writers import ThreadWriter
from semi.ui.dropped import lay_out, recording_of
from semi.ui.showing import notice
from semi.ui.telling import Update, telling, telling_on
from semi.ui.watching import Replay
from semi.ui.workshop import Workshop

EVERY_S = 0.25
"""Between two looks at a stream."""


def build(tab: gr.Tab, workshop: Workshop) -> None:
    """Lay out the tab in the Blocks around."""
    name = gr.Dropdown([], label="Integration", info="Those of modalities that can be streamed")
    files = gr.File(label="Recording", file_count="multiple", height=150, elem_id="recording")
    gr.HTML(notice("rosbag2 (.mcap, .db3), or a table of stamps and values (.csv, .npz)"))
    with gr.Row():
        rate = gr.Number(50, label="Samples a second", minimum=0.001)
        window = gr.Number(2, label="Window, s", minimum=0.001)
        hop = gr.Number(0.5, label="Hop, s", minimum=0.001)
        speed = gr.Number(1, label="Speed", minimum=0.01, info="Times as recorded")
    texts = gr.Checkbox(label="Text beside the labels")
    with gr.Row():
        start = gr.Button("Replay", variant="primary", elem_id="replay")
        stop = gr.Button("Stop", variant="stop", interactive=False, elem_id="stop-replay")
    problem, shown = gr.HTML(), gr.HTML()
    stopped = Event()

    @telling(problem)
    def listed(wanted: str | None) -> Update:
        names = workshop.streamed()
        return {name: gr.update(choices=names, value=wanted if wanted in names else next(iter(names), None))}

    @telling_on(problem)
    def play(wanted: str, dropped: list[str] | None, write: bool, times: float, *timing: float) -> Iterator[Update]:
        path = recording_of(lay_out(dropped or [], workshop.drop()))
        with workshop.working("reading a recording"), ExitStack() as ending:
            stopped.clear()
            part = workshop.integration(wanted) if write else workshop.parts(wanted)
            source = open_source(path, part.modality)
            session = ending.enter_context(_session(part))
            rate_hz, window_s, hop_s = timing
            stream = session.stream(part.modality.name, rate_hz=rate_hz, window_s=window_s, hop_s=hop_s)
            session.warmup()
            going = Replay(source, stream, stopped, speed=times, text=write)
            ending.callback(going.stop)
            yield {stop: gr.update(interactive=True)}
            while not going.over(EVERY_S):
                yield {shown: going.watch.show()}
            yield {shown: going.watch.show()}

    def halt() -> None:
        stopped.set()

    def over() -> Update:
        """However it ended."""
        return {stop: gr.update(interactive=False)}

    quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    given = [name, files, texts, speed, rate, window, hop]
    played = start.click(play, given, [problem, shown, stop], concurrency_limit=None, **quiet)
    played.then(over, None, stop, **quiet)
    stop.click(halt, None, None, **quiet)
    tab.select(listed, name, [problem, name], **quiet)


def _session(part: Integration | Parts) -> Session:
    """A session that also writes where the integration comes with its language model."""
    name = part.modality.name
    return Session({name: part}, ThreadWriter({name: part}) if isinstance(part, Integration) else None)
