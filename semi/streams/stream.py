"""A live sensor: samples go in, readings come out."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass, field
from threading import Condition
from typing import TYPE_CHECKING, Any

import numpy as np

from semi.errors import InputError, SemiError, SessionError
from semi.streams.counts import Counts
from semi.streams.cutter import Cutter
from semi.streams.latency import Latency
from semi.streams.settings import StreamSettings
from semi.streams.windows import Window

if TYPE_CHECKING:
    from semi.memory import Neighbour
    from semi.modality import Modality


@dataclass(frozen=True, eq=False)
class Reading:
    """What is known of a window, or of another sample, in milliseconds."""

    modality: str
    nearest: list[Neighbour]
    """Labels of the nearest samples of the support set, with distances; 1.0 is their usual spacing."""
    unlike_anything_seen: bool
    run: int
    number: int
    start_ns: int
    end_ns: int
    """Stamps of the window's first and last sample; the same for a sample that is no window."""
    embedding: np.ndarray = field(repr=False)
    """(d_enc,) or (t, d_enc), float32."""
    sealed_at: float
    """`time.monotonic()` when the sample came that completed it."""

    @property
    def age_ms(self) -> float:
        """Since that sample came."""
        return (time.monotonic() - self.sealed_at) * 1e3


@dataclass(frozen=True, eq=False)
class Answer:
    """Text about a window, or about several, and other samples."""

    text: str
    question: str | None
    """None: the modality's own instruction."""
    readings: tuple[Reading, ...]
    """Of what it is about, in the order in which it was asked about."""

    @property
    def reading(self) -> Reading:
        """The first, which is the only one unless several were asked about at once."""
        return self.readings[0]


HOPELESS = 3
"""Windows that tell a wrong stream from a bad moment."""

Ask = Callable[[Sequence["Stream | Reading"], str | None], "Future[Answer]"]


class Stream:
    """Samples of one sensor, cut into windows by their stamps; `semi.Session.stream` makes it.

    `push` and its kin may be called from any thread, and so may everything else.

    Args:
        wake: called, by the thread that pushes, when there is a window to be read; returns at once.
        ask: puts a question to the language model; None: the session has none.
        forget: lets go of a stream that is closed.
        texts: whether the newest window gets text whenever the one before has got its own.
    """

    def __init__(
        self,
        name: str,
        modality: Modality,
        settings: StreamSettings,
        wake: Callable[[], None],
        ask: Ask | None,
        forget: Callable[[Stream], None],
        *,
        texts: bool = False,
    ) -> None:
        self.name, self.modality, self.settings, self.texts = name, modality, settings, texts
        self._wake, self._ask, self._forget = wake, ask, forget
        self._cutter = Cutter(settings)
        self._latency = {name: Latency() for name in ("push", "label", "text")}
        self._news = Condition()
        """Guards what follows."""
        self._newest: Reading | None = None
        self._answer: Answer | None = None
        self._unread: Reading | SessionError | None = None
        self._failed = 0
        self._error: SessionError | None = None
        self._refused: list[str] = []
        """Why the first windows could not be read, as long as none could."""
        self.closed = False
        """Whether `close` was called, here or of the session."""

    def push(self, stamp_ns: int, sample: Any) -> bool:
        """Take a sample (channels,) measured at `stamp_ns`; never waits for anything but other threads' samples.

        Returns:
            whether it completed a whole window, whose reading will come.

        Raises:
            InputError: not a stamp, or another number of channels than the first sample had; nothing was counted.
            SessionError: the stream is closed (fatal), or the sample is late and the policy is "raise" (retriable).
        """
        began = time.perf_counter_ns()
        sealed = self._pushed(self._cutter.push, stamp_ns, sample)
        self._latency["push"].add(time.perf_counter_ns() - began)
        return sealed

    def push_many(self, stamps_ns: Sequence[int] | np.ndarray, samples: Any) -> bool:
        """Take m samples (m, channels); as `push` of one after the other, but of several windows the newest is read."""
        return self._pushed(self._cutter.push_many, stamps_ns, samples)

    def flush(self) -> bool:
        """The source has ended: what waits for late samples waits no longer. Returns as `push`."""
        return self._pushed(self._cutter.flush)

    def latest(self, max_age_ms: float = float("inf")) -> Reading | None:
        """The newest reading, unless it is older; returns at once.

        Raises:
            SessionError: the stream is closed.
        """
        with self._news:
            self._require_open()
            reading = self._newest
        return reading if reading is not None and reading.age_ms <= max_age_ms else None

    def async_read(self, timeout_ms: float | None = None) -> Reading | None:
        """The newest reading that was not given before, as soon as there is one; each is given once.

        In asyncio: `await asyncio.to_thread(stream.async_read, 200)`.

        Args:
            timeout_ms: how long to wait, 0 for not at all; None: for ever.

        Returns:
            None if there was none in that time.

        Raises:
            SessionError: the window could not be read (retriable: the next may be), or the stream is closed (fatal).
        """
        with self._news:
            timeout = None if timeout_ms is None else timeout_ms / 1e3
            self._news.wait_for(lambda: self._unread is not None or self.closed, timeout)
            self._require_open()
            unread, self._unread = self._unread, None
        if isinstance(unread, SessionError):
            raise unread
        return unread

    def ask(self, question: str | None = None) -> Future[Answer]:
        """Ask the language model about the newest window there is when its turn comes; returns at once.

        Turns go to the stream with the newest window. `Future.cancel` works as long as the turn has not come.

        Args:
            question: or instruction; None: the modality's own.

        Raises:
            InputError: the session was loaded without a language model, or the question has several placeholders.
            SessionError: too many questions wait (retriable), or the stream is closed (fatal). The future raises it
                too: retriable where the worker that writes text died.
        """
        if self._ask is None:
            raise no_language_model()
        self._require_open()
        return self._ask([self], question)

    def latest_text(self, max_age_ms: float = float("inf")) -> Answer | None:
        """The newest text, unless its window is older; returns at once."""
        with self._news:
            answer = self._answer
        return answer if answer is not None and answer.reading.age_ms <= max_age_ms else None

    def counts(self) -> Counts:
        """All counts at one moment."""
        return self._cutter.counts()

    def status(self) -> dict[str, Any]:
        """JSON-able: "counts" (of samples and windows), "failed" (windows that could not be read) and the last "error",
        "age_ms" of the newest reading (None: no reading yet), and "latency_ms": n, p50, p99 and max of "push", "label"
        (from the sample that completes a window to its reading) and "text" (to its text).
        """
        with self._news:
            newest, failed, error = self._newest, self._failed, self._error
        return {
            "modality": self.modality.name,
            "counts": asdict(self.counts()),
            "failed": failed,
            "error": None if error is None else str(error),
            "age_ms": None if newest is None else newest.age_ms,
            "latency_ms": {name: latency.summary() for name, latency in self._latency.items()},
        }

    def close(self) -> None:
        """End this stream alone: its name is free, its questions fail, whoever waits is told. May be called twice."""
        with self._news:
            self.closed = True
            self._news.notify_all()
        self._forget(self)

    def take(self) -> Window | None:
        """For the session's worker: the newest window, once."""
        return self._cutter.take()

    def unreadable(self, window: Window, error: Exception) -> SessionError:
        """For the session's worker: what the reader of a window is told that the modality or its encoder refused.

        It is fatal once that was all that became of the stream, for one and the same reason.
        """
        why = error.__cause__ if isinstance(error.__cause__, SemiError) else error  # without the number in its batch
        what, got = (why.what, why.got) if isinstance(why, SemiError) else (type(why).__name__, why)
        if self._newest is None:
            self._refused.append(what)
        hopeless = self._newest is None and len(self._refused) >= HOPELESS and len(set(self._refused)) == 1
        stamps = f"stamps {window.start_ns} to {window.end_ns}"
        told = SessionError(
            f"window {window.number} of stream {self.name} could not be read, {stamps}: {what}",
            got=got,
            expected=getattr(why, "expected", None),
            do="open another stream: none of its windows could be read, for this one reason" if hopeless else None,
            retriable=not hopeless,
        )
        told.__cause__ = error
        return told

    def publish(self, outcome: Reading | SessionError) -> None:
        """For the session's worker: what came of the newest window."""
        with self._news:
            self._unread = outcome
            if isinstance(outcome, Reading):
                self._newest = outcome
                self._latency["label"].add(int(outcome.age_ms * 1e6))
            else:
                self._failed += 1
                self._error = outcome
            self._news.notify_all()

    def publish_text(self, outcome: Answer | SessionError) -> None:
        """For the session's writer of texts."""
        with self._news:
            if isinstance(outcome, Answer):
                self._answer = outcome
                self._latency["text"].add(int(outcome.reading.age_ms * 1e6))
            else:
                self._error = outcome

    def _pushed(self, store: Callable[..., bool], *samples: Any) -> bool:
        self._require_open()
        sealed = store(*samples)
        if sealed:
            self._wake()
        return sealed

    def _require_open(self) -> None:
        if self.closed:
            raise closed("stream")


def closed(what: str) -> SessionError:
    """What is raised after `close` of a stream or a session."""
    return SessionError(f"the {what} is closed", do=f"open another {what}", retriable=False)


def no_language_model() -> InputError:
    """What is raised where text is wanted of a session without."""
    return InputError("the session has no language model", do='load it with text_worker="thread" or "process"')
