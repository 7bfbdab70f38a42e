"""Which windows are complete, and which of these are whole: in closed form, whatever the stamps do."""

from __future__ import annotations

from semi.streams.counts import Counts
from semi.streams.settings import StreamSettings

NONE = range(0)


class Sealing:
    """Windows of one run after the other, sealed by stamps that increase within each.

    Window k covers [origin + k hop, origin + k hop + span], the origin being the first stamp of the run.

    Args:
        counts: where gaps, gap_ns, windows and invalid are counted.
    """

    def __init__(self, settings: StreamSettings, counts: Counts) -> None:
        self._counts = counts
        self._hop, self._span, self._tolerance = settings.hop_ns, settings.span_ns, settings.tolerance_ns
        self.run = 0
        """Of how many before it."""
        self.origin: int | None = None
        """The run's first stamp; None: before any."""
        self._newest = 0
        self._next = 0
        """The first window that is not sealed."""
        self._whole = 0
        """The first window that begins after the last gap."""
        self._next_end = 0

    def restart(self) -> None:
        """Begin another run."""
        self.run += 1
        self.origin = None

    def start(self, number: int) -> int:
        """First stamp of a window of this run."""
        return (self.origin or 0) + number * self._hop

    @property
    def wanted(self) -> int:
        """First stamp of the first window that can still be sealed whole."""
        return self.start(max(self._next, self._whole))

    def store(self, stamp: int) -> range:
        """The windows that the next stamp of the run seals whole; the others that it seals are counted invalid."""
        if self.origin is None:
            self.origin = self._newest = stamp
            self._next = self._whole = 0
            self._next_end = stamp + self._span
            return NONE
        step, self._newest = stamp - self._newest, stamp
        if step > self._tolerance:
            self._counts.gaps += 1
            self._counts.gap_ns += step
            self.break_at(stamp)
        if stamp < self._next_end:
            return NONE
        first, self._next = self._next, (stamp - self._span - self.origin) // self._hop + 1
        self._next_end = self.start(self._next) + self._span
        # a window sealed by the sample after a gap begins before that sample, so it is not whole
        whole = range(min(max(first, self._whole), self._next), self._next)
        self._counts.windows += self._next - first
        self._counts.invalid += self._next - first - len(whole)
        return whole

    def break_at(self, stamp: int) -> None:
        """Windows that begin before this stamp of the run are not whole."""
        self._whole = -(((self.origin or 0) - stamp) // self._hop)  # rounded up
