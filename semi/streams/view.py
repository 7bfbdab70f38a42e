"""What a replay shows: a live table on a terminal, lines elsewhere, or JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np

from semi.errors import SessionError
from semi.streams.settings import SECOND
from semi.streams.stream import Answer, Reading

if TYPE_CHECKING:
    from rich.console import Group

Status = Callable[[], dict[str, Any]]
BAR = 24
"""Characters of the bar that stands for a distance of 0."""
TROUBLE = ("late", "duplicates", "not_finite", "saturated", "overrun", "gaps", "invalid", "skipped", "restarts")
"""Counts that are shown once they are not 0."""


class _View:
    """Readings go to a text stream; samples are too many to show."""

    def __init__(self, out: TextIO, status: Status) -> None:
        self._out, self._status = out, status

    def sample(self, stamp_ns: int, sample: np.ndarray) -> None:
        """Nothing."""

    def _line(self, line: str) -> None:
        print(line, file=self._out, flush=True)


class JsonLines(_View):
    """A JSON object a line: a reading, a text, and at the end the stream's status.

    Every window has `start_ns` and `end_ns`, by which a text is matched with its reading.
    """

    def reading(self, reading: Reading) -> None:
        """{"start_ns", "end_ns", "nearest": [{"label", "distance"}, ...], "unlike_anything_seen", "age_ms"}."""
        nearest = [{"label": found.label, "distance": found.distance} for found in reading.nearest]
        self._emit(
            reading,
            nearest=nearest,
            unlike_anything_seen=reading.unlike_anything_seen,
            age_ms=round(reading.age_ms, 3),
        )

    def answer(self, answer: Answer) -> None:
        """{"start_ns", "end_ns", "text"}."""
        self._emit(answer.reading, text=answer.text)

    def failure(self, error: SessionError) -> None:
        """{"error"}."""
        self._line(json.dumps({"error": str(error)}))

    def close(self) -> None:
        """{"status": ...}."""
        self._line(json.dumps({"status": self._status()}, allow_nan=False))

    def _emit(self, reading: Reading, **more: Any) -> None:
        self._line(json.dumps({"start_ns": reading.start_ns, "end_ns": reading.end_ns, **more}, allow_nan=False))


class Lines(_View):
    """A line for each reading and each text, by seconds since the first sample."""

    _origin: int | None = None

    def sample(self, stamp_ns: int, sample: np.ndarray) -> None:
        """The first is where time begins."""
        if self._origin is None:
            self._origin = stamp_ns

    def reading(self, reading: Reading) -> None:
        """`12.00 s  a brisk swing (0.31)`."""
        self._line(f"{self._when(reading)}  {labelled(reading)}")

    def answer(self, answer: Answer) -> None:
        """`12.00 s  "an arm that swings"`."""
        self._line(f'{self._when(answer.reading)}  "{one_line(answer.text)}"')

    def failure(self, error: SessionError) -> None:
        """What is wrong."""
        self._line(f"failed: {one_line(str(error))}")

    def close(self) -> None:
        """What became of samples and windows."""
        self._line(counted(self._status()))

    def _when(self, reading: Reading) -> str:
        return f"{(reading.end_ns - (self._origin or 0)) / SECOND:9.2f} s"


class Live(_View):
    """The newest reading and the newest text, in place; needs a terminal."""

    def __init__(self, out: TextIO, status: Status) -> None:
        from rich.console import Console
        from rich.live import Live as Display

        super().__init__(out, status)
        self._reading: Reading | None = None
        self._text = ""
        self._display = Display(console=Console(file=out, highlight=False), get_renderable=self._shown)
        self._display.start()

    def reading(self, reading: Reading) -> None:
        """Shown within a quarter of a second, as everything."""
        self._reading = reading

    def answer(self, answer: Answer) -> None:
        """Stands until the next is there."""
        self._text = one_line(answer.text)

    def failure(self, error: SessionError) -> None:
        """Nothing: the status tells of the last."""

    def close(self) -> None:
        """What was shown last stays."""
        self._display.stop()

    def _shown(self) -> Group:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        labels = Table.grid(padding=(0, 2))
        for found in self._reading.nearest if self._reading else ():
            # 1.0 is the usual distance between neighbours in the support set
            bar = "\u2588" * round(BAR / (1 + found.distance))
            labels.add_row(Text(found.label), Text(f"{found.distance:.2f}"), Text(bar, style="green"))
        below = []
        if self._reading and self._reading.unlike_anything_seen:
            below.append(Text("unlike anything seen", style="yellow"))
        if self._text:
            below.append(Text(f'"{self._text}"', style="bold"))
        status = self._status()
        if status["error"]:
            below.append(Text(status["error"], style="red"))
        return Group(labels, *below, Text(counted(status), style="dim"))


def labelled(reading: Reading) -> str:
    """The nearest label with its distance, and whether it means anything."""
    nearest = reading.nearest[0]
    told = f"{nearest.label} ({nearest.distance:.2f})"
    return f"{told}, unlike anything seen" if reading.unlike_anything_seen else told


def one_line(text: str) -> str:
    """The text without line breaks."""
    return " ".join(text.split())


def counted(status: dict[str, Any]) -> str:
    """`2,480 samples, 24 windows; duplicates 3, gaps 1`."""
    counts = status["counts"]
    trouble = ", ".join(f"{name.replace('_', ' ')} {counts[name]:,}" for name in TROUBLE if counts[name])
    return f"{counts['pushed']:,} samples, {counts['windows']:,} windows" + (f"; {trouble}" if trouble else "")


def view(out: TextIO, status: Status, *, as_json: bool = False) -> JsonLines | Lines | Live:
    """What suits where the output goes."""
    if as_json:
        return JsonLines(out, status)
    return (Live if out.isatty() else Lines)(out, status)
