"""`semi stream`: what an integration reads of a sensor, window by window, while a recording is replayed."""

from __future__ import annotations

import sys
from contextlib import ExitStack, closing, suppress
from enum import StrEnum
from math import isfinite
from pathlib import Path
from typing import Annotated, Any

import typer

from semi.cli._common import JSON
from semi.errors import InputError

FROM_ROSBAG = "A recording that the modality's plugin reads, e.g. of imu a rosbag2 folder, .db3 or .mcap file."
FROM_TABLE = "A .csv file with a column stamp_ns or time (s), or an .npz file with stamps (ns) and values."
TEXT_WORKER = "Where text is written: in a thread, which holds up samples for moments, or in a process of its own."
SPEED = "Times as fast as it was recorded; max: as fast as every window can be read."


class TextWorker(StrEnum):
    """Who writes."""

    THREAD = "thread"
    PROCESS = "process"


def command(
    modality: Annotated[str, typer.Argument(metavar="MODALITY", help="What is measured, e.g. imu.")],
    folder: Annotated[Path, typer.Option("--dir", metavar="DIR", help="What `semi adapt` wrote.")],
    from_rosbag: Annotated[Path | None, typer.Option("--from-rosbag", metavar="FILE", help=FROM_ROSBAG)] = None,
    from_table: Annotated[Path | None, typer.Option("--from-table", metavar="FILE", help=FROM_TABLE)] = None,
    topic: Annotated[str | None, typer.Option("--topic", help="Of the recording, where it has several.")] = None,
    speed: Annotated[str, typer.Option("--speed", help=SPEED)] = "1.0",
    rate_hz: Annotated[float, typer.Option("--rate", metavar="HZ", help="Samples a second in a window.")] = 50.0,
    window_s: Annotated[float, typer.Option("--window", metavar="S", help="Length of a window.")] = 4.0,
    hop_s: Annotated[float, typer.Option("--hop", metavar="S", help="From one window to the next.")] = 1.0,
    out_of_order: Annotated[
        str, typer.Option("--out-of-order", help="What becomes of samples that are not in order: sort, drop or raise.")
    ] = "sort",
    ask: Annotated[str | None, typer.Option("--ask", help="A question, e.g. 'Is it walking?'.")] = None,
    text: Annotated[bool, typer.Option("--text/--no-text", help="Text beside the nearest labels.")] = True,
    text_worker: Annotated[TextWorker, typer.Option("--text-worker", help=TEXT_WORKER)] = TextWorker.THREAD,
    rerun: Annotated[
        Path | None, typer.Option("--rerun", metavar="FILE", help="Log it for the Rerun viewer, to an .rrd file.")
    ] = None,
    as_json: JSON = False,
) -> None:
    """Replay a recording: nearest labels of each window at once, text when it is ready."""
    times = _speed(speed)
    if (path := from_rosbag or from_table) is None or (from_rosbag and from_table):
        raise InputError("what is to be replayed is not clear", expected="either --from-rosbag or --from-table")

    from semi.integration import Integration
    from semi.plugins import load_modality
    from semi.streams.replay import Watcher, replay
    from semi.streams.session import Session
    from semi.streams.settings import StreamSettings
    from semi.streams.sources import TABLES, open_source
    from semi.streams.view import view

    if (adapted := Integration.modality_of(folder)) != modality:
        raise InputError(f"{folder} is of another modality", got=modality, expected=adapted)
    if from_table and from_table.suffix not in TABLES:
        raise InputError(f"{from_table} is no table", got=from_table.suffix, expected=" or ".join(TABLES))
    settings: dict[str, Any] = {"rate_hz": rate_hz, "window_s": window_s, "hop_s": hop_s, "out_of_order": out_of_order}
    StreamSettings(**settings)  # wrong ones are refused before anything is loaded
    source = open_source(path, load_modality(modality), topic=topic)
    with ExitStack() as ending:
        watchers: list[Watcher] = []
        if rerun is not None:
            from semi.streams.rerun_log import RerunLog

            watchers.append(ending.enter_context(closing(RerunLog(rerun, modality))))
        session = ending.enter_context(Session.load(folder, text_worker=text_worker.value if text else None))
        stream = session.stream(modality, **settings)
        session.warmup()
        watchers.append(ending.enter_context(closing(view(sys.stdout, stream.status, as_json=as_json))))
        with suppress(KeyboardInterrupt):  # how a replay in real time usually ends
            replay(source, stream, watchers, speed=times, text=text, question=ask)


def _speed(text: str) -> float | None:
    """None: as fast as possible."""
    if text == "max":
        return None
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not (isfinite(speed) and speed > 0):
        raise InputError("--speed is no speed", got=text, expected="a number above 0, or max")
    return speed
