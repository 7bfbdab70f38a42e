"""Samples as they arrive to samples in the order of their stamps."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from typing import Generic, TypeVar

from semi.errors import SessionError
from semi.streams.counts import Counts
from semi.streams.settings import SECOND, StreamSettings

S = TypeVar("S")


class Order(Generic[S]):
    """Samples in, the same samples out with stamps that increase strictly within a run.

    A sample comes out once the newest stamp is `wait_ns` ahead of it: from then on everything older is late. So what
    comes out depends on the stamps alone, and not on the order in which samples came within that time.

    Args:
        counts: where pushed, stored, late, duplicates and restarts are counted.
        release: takes stamp and sample of each that comes out.
        restart: called between two runs.
    """

    def __init__(
        self,
        settings: StreamSettings,
        counts: Counts,
        release: Callable[[int, S], None],
        restart: Callable[[], None],
    ) -> None:
        self._counts, self._release, self._restart = counts, release, restart
        self._wait, self._room, self._restart_ns = settings.wait_ns, settings.room, settings.restart_ns
        self._tells = settings.out_of_order == "raise"
        self._newest: int | None = None
        self._released: int | None = None
        self._stamps: list[int] = []
        """Of the samples that wait, increasing."""
        self._samples: list[S] = []
        self._back: tuple[int, int] | None = None
        """First and newest stamp of late samples with none on time since."""

    def admit(self, stamp: int, sample: S) -> bool:
        """Whether the sample is stored.

        Raises:
            SessionError: it is late and the policy is "raise"; the stream goes on without it.
        """
        newest = self._newest
        if newest is None or stamp > newest:
            self._newest = stamp
            self._stamps.append(stamp)
            self._samples.append(sample)
        elif stamp < newest - self._wait or (self._released is not None and stamp < self._released):
            return self._late(stamp, sample)
        else:
            at = bisect_left(self._stamps, stamp)
            if stamp == self._released or (at < len(self._stamps) and self._stamps[at] == stamp):
                self._counts.duplicates += 1
                return False
            self._stamps.insert(at, stamp)
            self._samples.insert(at, sample)
        self._back = None
        self._counts.stored += 1
        self._release_until(self._newest - self._wait)  # type: ignore[operator]  # the newest is at least this sample
        return True

    def flush(self) -> None:
        """Let out what waits: nothing older will come."""
        if self._newest is not None:
            self._release_until(self._newest)

    def _release_until(self, stamp: int) -> None:
        # stamps that stand still would fill the memory: beyond its room the oldest no longer waits
        while self._stamps and (self._stamps[0] <= stamp or len(self._stamps) > self._room):
            self._released = self._stamps.pop(0)
            self._release(self._released, self._samples.pop(0))

    def _late(self, stamp: int, sample: S) -> bool:
        first, newest = self._back or (stamp, stamp)
        self._back = (first, max(newest, stamp)) if stamp >= newest - self._wait else (stamp, stamp)
        if stamp - self._back[0] >= self._restart_ns:
            self.flush()
            self._restart()
            self._counts.restarts += 1
            self._newest = self._released = None
            return self.admit(stamp, sample)
        self._counts.late += 1
        if self._tells:
            ahead = ((self._newest or 0) - stamp) / SECOND
            raise SessionError(
                "a sample is older than the newest one",
                got=f"stamp {stamp}, {ahead:.6f} s behind",
                do='push samples in the order of their stamps, or choose out_of_order="sort"',
                retriable=True,
            )
        return False
