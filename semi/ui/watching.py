"""A recording replayed in a thread of its own, and what it is seen to give."""

from __future__ import annotations

from collections import deque
from html import escape
from itertools import takewhile
from threading import Event, Thread
from typing import Any

import numpy as np

from semi.errors import SessionError
from semi.streams.replay import replay
from semi.streams.settings import SECOND
from semi.streams.sources import Source
from semi.streams.stream import Answer, Reading, Stream
from semi.streams.view import counted, one_line
from semi.ui.showing import facts, nearest, notice, table, unlike

KEPT = 8
"""Readings that are shown."""
UNLIKE = "This is far from all that was learned from: the label is the nearest one, and may well be wrong."


class Watch:
    """A watcher of a replay that keeps the newest."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._origin: int | None = None
        self.readings: deque[Reading] = deque(maxlen=KEPT)
        self.text = ""
        self.failed = ""

    def sample(self, stamp_ns: int, sample: np.ndarray) -> None:
        """The first is where time begins."""
        if self._origin is None:
            self._origin = stamp_ns

    def reading(self, reading: Reading) -> None:
        """Shown at the next look."""
        self.readings.appendleft(reading)

    def answer(self, answer: Answer) -> None:
        """Stands until the next is there."""
        self.text = one_line(answer.text)

    def failure(self, error: SessionError) -> None:
        """Stands until the end."""
        self.failed = one_line(str(error))

    def close(self) -> None:
        """Nothing to close."""

    def show(self) -> str:
        """As of now."""
        status = self._stream.status()
        counts, latency = status["counts"], status["latency_ms"]["label"]
        parts = []
        for newest in list(self.readings)[:1]:
            flag, warning = (f" {unlike()}", notice(UNLIKE)) if newest.unlike_anything_seen else ("", "")
            text = f"<p><q>{escape(self.text)}</q></p>" if self.text else ""
            head = f'<p class="semi-now">{escape(newest.nearest[0].label)}{flag}</p>'
            parts.append(f"{head}{warning}{text}{nearest(newest.nearest)}")
        age = "-" if status["age_ms"] is None else f"{status['age_ms']:.0f} ms"
        gaps = f"{counts['gap_ns'] / SECOND:.2f} s in all"
        parts.append(
            facts(
                {
                    "age of the reading": (age, "since its last sample"),
                    "latency": (
                        f"{latency['p50']:.0f} ms",
                        f"median; p99 {latency['p99']:.0f} ms, n {latency['n']:.0f}",
                    ),
                    "gaps": (str(counts["gaps"]), gaps),
                    "windows": (str(counts["windows"]), f"{counts['invalid']} invalid, {counts['skipped']} skipped"),
                }
            )
        )
        parts.append(notice(counted(status) + (f". Failed: {self.failed}" if self.failed else "")))
        rows = [
            (f"{(each.end_ns - (self._origin or 0)) / SECOND:.2f} s", escape(each.nearest[0].label), self._far(each))
            for each in list(self.readings)
        ]
        return "".join(parts) + (table(("time", "label", "distance"), rows, cards=True) if rows else "")

    def _far(self, reading: Reading) -> str:
        return f"{reading.nearest[0].distance:.2f}" + (f" {unlike()}" if reading.unlike_anything_seen else "")


class Replay:
    """A thread that pushes a source into a stream.

    Args:
        stopped: set by whoever wants it to end early.
        how: speed, text and question of `semi.streams.replay.replay`.
    """

    def __init__(self, source: Source, stream: Stream, stopped: Event, **how: Any) -> None:
        self.watch = Watch(stream)
        self._source = takewhile(lambda _: not stopped.is_set(), source)
        self._stream, self._stopped, self._how = stream, stopped, how
        self._error: Exception | None = None
        self._thread = Thread(target=self._run, name="semi ui replay", daemon=True)
        self._thread.start()

    def over(self, seconds: float) -> bool:
        """Whether it ended in that time.

        Raises:
            SemiError: what it failed with.
        """
        self._thread.join(seconds)
        if self._error is not None:
            raise self._error
        return not self._thread.is_alive()

    def stop(self) -> None:
        """End it, and wait until it has."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            replay(self._source, self._stream, [self.watch], **self._how)
        except Exception as error:  # of a plugin's reader, say; told by `over`
            self._error = error
