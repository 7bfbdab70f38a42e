"""A recording pushed into a stream as the sensor once did, in its own time or as fast as everything can be read."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Protocol

import numpy as np

from semi.errors import SessionError
from semi.streams.settings import SECOND
from semi.streams.sources import Source
from semi.streams.stream import Answer, Reading, Stream

PATIENCE_S = 60.0
"""What reads windows is given up if it takes longer for one."""
BACK_NS = SECOND
"""A stamp that is so far behind the newest is one of a clock that was set back."""


class Watcher(Protocol):
    """What is told of a replay; see `semi.streams.view`."""

    def sample(self, stamp_ns: int, sample: np.ndarray) -> None:
        """A sample (channels,) has been pushed."""

    def reading(self, reading: Reading) -> None:
        """A window has got its labels."""

    def answer(self, answer: Answer) -> None:
        """A window has got its text; in the meantime there may have been other readings."""

    def failure(self, error: SessionError) -> None:
        """A window could not be read; the replay goes on."""

    def close(self) -> None:
        """The replay is over."""


def replay(
    source: Source,
    stream: Stream,
    watchers: Sequence[Watcher] = (),
    *,
    speed: float | None = 1.0,
    text: bool = True,
    question: str | None = None,
) -> None:
    """Push all samples of a source, and tell watchers what is read of them. They are not closed.

    Args:
        speed: times as fast as the stamps go; windows that cannot be read in that time are skipped, and text is that
            of the newest window whenever the text before is done. None: as fast as can be without skipping a window,
            each with its text before the next is cut.
        text: whether the language model is asked at all.
        question: or instruction; None: the modality's own.

    Raises:
        PairsError: the source turns out to be damaged.
        InputError: samples have another number of channels, or the session no language model to ask.
        SessionError: the session is closed or hangs.
    """
    clock, told = _Clock(speed), _Telling(stream, watchers, text, question)
    for stamp, sample in source:
        clock.wait(stamp, told)
        told.push(stamp, sample)
        if speed is None:
            told.rest()
    told.flush()
    told.rest()


class _Telling:
    """What comes out of a stream, on its way to the watchers."""

    def __init__(self, stream: Stream, watchers: Sequence[Watcher], text: bool, question: str | None) -> None:
        self._stream, self._watchers, self._text, self._question = stream, watchers, text, question
        self._awaited: float | None = None
        """Before the newest window was sealed, by `time.monotonic`; None: its reading has been told."""
        self._asked: Future[Answer] | None = None

    def push(self, stamp: int, sample: np.ndarray) -> None:
        """Of one that is late there is nothing to tell: the stream counts it."""
        before = time.monotonic()
        try:
            if self._stream.push(stamp, sample):
                self._awaited = before
        except SessionError as error:
            self._failed(error)
        for watcher in self._watchers:
            watcher.sample(stamp, sample)

    def flush(self) -> None:
        """No more samples will come."""
        before = time.monotonic()
        if self._stream.flush():
            self._awaited = before

    def next(self, seconds: float) -> bool:
        """Whether the next reading came in that time; it is told, and so is the text that is done."""
        if self._asked is not None and self._asked.done():
            self._answered()
        try:
            reading = self._stream.async_read(seconds * 1e3)
        except SessionError as error:
            self._failed(error)
            self._awaited = None
            return True
        if reading is None:
            return False
        if self._awaited is not None and reading.sealed_at >= self._awaited:
            self._awaited = None
        for watcher in self._watchers:
            watcher.reading(reading)
        if self._text and self._asked is None:
            self._asked = self._stream.ask(self._question)
        return True

    def rest(self) -> None:
        """Wait for the reading of the newest window, and for the text that was asked for."""
        while self._awaited is not None:
            if not self.next(PATIENCE_S):
                raise SessionError("a window was not read", got=f"nothing in {PATIENCE_S:g} s", retriable=False)
        if self._asked is not None:
            self._answered()

    def _answered(self) -> None:
        asked, self._asked = self._asked, None
        if asked is None:
            return
        try:
            answer = asked.result()
        except SessionError as error:
            self._failed(error)
            return
        for watcher in self._watchers:
            watcher.answer(answer)

    def _failed(self, error: SessionError) -> None:
        if not error.retriable:
            raise error
        for watcher in self._watchers:
            watcher.failure(error)


class _Clock:
    """When each sample is due."""

    def __init__(self, speed: float | None) -> None:
        self._speed = speed
        self._due = time.monotonic()
        self._newest: int | None = None

    def wait(self, stamp: int, told: _Telling) -> None:
        """Until a sample is due, and meanwhile tell what is read."""
        if self._newest is None:
            self._newest = stamp
        step = stamp - self._newest
        if step > 0 or step < -BACK_NS:
            self._newest = stamp
        if self._speed is None:
            return
        self._due += max(step, 0) / SECOND / self._speed
        while (left := self._due - time.monotonic()) > 0:
            told.next(left)
