"""One adaptation at work in a thread of its own: how far it is, how it is stopped, what came of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from threading import Event, Thread
from typing import Any, Literal

from semi.adaptation import adapt
from semi.errors import PairsError
from semi.fitting import SEARCH
from semi.foundation import Foundation
from semi.integration import Integration, Reading
from semi.modality import Modality
from semi.pairs import Pair
from semi.pairs_io import draw_shots
from semi.settings import Settings

State = Literal["running", "done", "cancelled", "failed"]


@dataclass(frozen=True)
class Order:
    """What is to be learned.

    Attributes:
        held: pairs that are kept back, to compare answers on.
    """

    modality: Modality
    pairs: Sequence[Pair]
    held: Sequence[Pair]
    settings: Settings


@dataclass(frozen=True)
class Progress:
    """How far it is: stages with the seconds at which each began, and of the last one step, total and a note."""

    stages: tuple[tuple[str, float], ...] = ()
    step: int = 0
    total: int = 0
    note: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class Answer:
    """What is said of one sample before and after learning."""

    sample: Any
    caption: str
    """The true one; empty where it is not known."""
    before: Reading
    after: Reading


@dataclass(frozen=True)
class Outcome:
    """The integration with no gradient step, the one that learned, and their answers on the pairs kept back."""

    before: Integration
    after: Integration
    answers: list[Answer]

    def answer(self, samples: Sequence[Any], captions: Sequence[str], ask: str | None = None) -> list[Answer]:
        """What both say of parsed samples."""
        both = (each.read(samples, ask=ask) for each in (self.before, self.after))
        return [Answer(*row) for row in zip(samples, captions, *both, strict=True)]


class Job:
    """Learns in a thread that it starts at once.

    Args:
        foundation: called in that thread; may take long.
        over: called in that thread when it ends, whatever came of it.
    """

    def __init__(self, order: Order, foundation: Callable[[], Foundation], over: Callable[[], None]) -> None:
        self.order = order
        self.state: State = "running"
        self.error: Exception | None = None
        """Of one that failed."""
        self.outcome: Outcome | None = None
        """Of one that is done."""
        self._foundation, self._over = foundation, over
        self._progress = Progress()
        self._began = time.monotonic()
        self._cancelled = Event()
        self._thread = Thread(target=self._run, name="semi ui", daemon=True)
        self._thread.start()

    @property
    def progress(self) -> Progress:
        """As of now."""
        if self.state != "running":
            return self._progress
        return replace(self._progress, seconds=time.monotonic() - self._began)

    def cancel(self) -> None:
        """End it at the next step; returns at once."""
        self._cancelled.set()

    def wait(self, seconds: float | None = None) -> bool:
        """Whether it ended in that time."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self.outcome = self._learn()
            state: State = "done"
        except _Cancelled:
            state = "cancelled"
        except Exception as error:  # plugins raise anything, and the page tells of it
            self.error, state = error, "failed"
        self._progress = self.progress
        self._over()
        self.state = state

    def _learn(self) -> Outcome:
        order = self.order
        self._told(0, "loading the language model")
        foundation = self._foundation()
        self._told(0, "answering without a gradient step")
        start = replace(order.settings, steps=0, diagnose=False)
        before = adapt(foundation, order.modality, order.pairs, settings=start)
        chosen = replace(order.settings, examples=before.record.settings["examples"])  # as it would choose again
        after = adapt(foundation, order.modality, order.pairs, settings=chosen, advance=self._told)
        self._told(0, "answering on pairs kept back")
        outcome = Outcome(before, after, [])
        samples, captions = [pair.sample for pair in order.held], [pair.caption for pair in order.held]
        answers = outcome.answer(samples, captions) if samples else []
        self._stop_if_cancelled()
        return replace(outcome, answers=answers)

    def _told(self, step: int, note: str) -> None:
        """What `semi.adaptation.adapt` advances."""
        self._stop_if_cancelled()
        stage, _, rest = note.partition(", ")
        stages = self._progress.stages
        if not stages or stages[-1][0] != stage:
            stages = (*stages, (stage, time.monotonic() - self._began))
        settings = self.order.settings
        schedule = settings.search() if stage == SEARCH else settings.schedule(pairs=len(self.order.pairs))
        self._progress = Progress(stages, step, schedule.steps if rest else 0, rest)

    def _stop_if_cancelled(self) -> None:
        if self._cancelled.is_set():
            raise _Cancelled


class _Cancelled(Exception):
    pass


def divide(pairs: Sequence[Pair], shots: int, held: int, seed: int) -> tuple[list[Pair], list[Pair]]:
    """Pairs to learn from, and others to compare answers on; drawn by the seed.

    Args:
        shots: to learn from, at most.
        held: to keep back.

    Raises:
        PairsError: nothing is left to learn from.
    """
    if held >= len(pairs):
        raise PairsError(
            "all pairs are kept back",
            got=f"{held} of {len(pairs)}",
            expected=f"at most {max(0, len(pairs) - 2)}",
            do="keep back fewer, or bring more",
        )
    order = draw_shots(pairs, len(pairs), seed)
    return order[: min(shots, len(pairs) - held)], order[len(pairs) - held :]
