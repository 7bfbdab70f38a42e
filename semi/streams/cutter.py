"""The live half of `semi.streams.windows`: samples in from any thread, the newest whole window out."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from threading import Lock
from typing import Any

import numpy as np

from semi.errors import InputError
from semi.streams.counts import Counts
from semi.streams.order import Order
from semi.streams.ring import Ring
from semi.streams.sealing import Sealing
from semi.streams.settings import StreamSettings
from semi.streams.windows import Window, as_numbers, as_stamp, before, make_window

ENOUGH = 100
"""Samples that tell how fast they come."""
AT_ONCE = 64
"""Samples stored before other threads get their turn: about 0.2 ms."""


@dataclass(frozen=True)
class _Sealed:
    """A whole window whose samples are still in the ring."""

    run: int
    number: int
    start_ns: int
    first: int
    """Number in the ring of the run's first sample."""
    end: int
    """Number after that of the sample that sealed it."""
    at: float


class Cutter:
    """Cuts a stream while it runs; what it allocates it allocates at the first sample.

    Raises:
        InputError: as `StreamSettings.check_channels`, once the first sample is there.
    """

    def __init__(self, settings: StreamSettings) -> None:
        self.settings = settings
        self._lock = Lock()
        self._counts = Counts()
        self._sealing = Sealing(settings, self._counts)
        self._order: Order[np.ndarray] = Order(settings, self._counts, self._store, self._sealing.restart)
        self._ring = Ring(settings.room, settings.channels) if settings.channels else None
        self._channels = settings.channels
        self._first = 0
        """Number in the ring of the run's first sample."""
        self._waiting: _Sealed | None = None
        self._crowded: str | None = None
        """What tells that no window will ever be whole."""

    def push(self, stamp_ns: int, sample: Any) -> bool:
        """Take one sample (channels,).

        Returns:
            whether it completed a window that can be taken.

        Raises:
            InputError: not a stamp, or another number of channels; nothing was counted.
            SessionError: it is late, and the policy is "raise"; retriable.
        """
        stamp = as_stamp(stamp_ns)
        row = as_numbers(sample, 1)
        numbers = row.tolist()
        usable = self.settings.is_usable(numbers)
        saturated = self.settings.is_saturated(numbers)
        with self._lock:
            self._fit(len(row))
            self._refuse_crowded()
            earlier = self._waiting
            self._admit(stamp, row, usable, saturated)
            return self._is_new(earlier)

    def push_many(self, stamps_ns: Sequence[int] | np.ndarray, samples: Any) -> bool:
        """Take m samples (m, channels) with their stamps (m,), in this order; as `push` of one after the other.

        Where the policy is "raise", those before the late one are stored and those after it are not looked at.
        """
        stamps = [as_stamp(stamp) for stamp in stamps_ns]
        rows = as_numbers(samples, 2)
        if len(stamps) != len(rows):
            raise InputError("stamps and samples differ in number", got=f"{len(stamps)} and {len(rows)}")
        self._check(rows.shape[1])
        usable, saturated = self.settings.usable(rows).tolist(), self.settings.saturated(rows).tolist()
        new = False
        for start in range(0, len(stamps), AT_ONCE):
            at = slice(start, start + AT_ONCE)
            with self._lock:
                self._fit(rows.shape[1])
                self._refuse_crowded()
                earlier = self._waiting
                for stamp, *sample in zip(stamps[at], rows[at], usable[at], saturated[at], strict=True):
                    self._admit(stamp, *sample)
                new |= self._is_new(earlier)
        return new

    def flush(self) -> bool:
        """Let in what waits for late samples: the source has ended. Returns as `push`."""
        with self._lock:
            earlier = self._waiting
            self._order.flush()
            return self._is_new(earlier)

    def take(self) -> Window | None:
        """The newest whole window, once; None: there is none since the last."""
        with self._lock:
            sealed, ring, self._waiting = self._waiting, self._ring, None
            if sealed is None or ring is None:
                return None
            self._counts.given += 1
            begin = max(sealed.first, ring.begin)
            stamps, _ = ring.stretch(begin, sealed.end)
            begin += before(stamps, sealed.start_ns)
            stamps, samples = (view.copy() for view in ring.stretch(begin, sealed.end))
        return make_window(self.settings, stamps, samples, sealed.run, sealed.number, sealed.start_ns, sealed.at)

    def counts(self) -> Counts:
        """All counts at one moment."""
        with self._lock:
            return replace(self._counts)

    def _is_new(self, earlier: _Sealed | None) -> bool:
        return self._waiting is not None and self._waiting is not earlier

    def _check(self, channels: int) -> None:
        if self._channels not in (None, channels):
            raise InputError("a sample has another number of channels", got=channels, expected=self._channels)
        self.settings.check_channels(channels)

    def _fit(self, channels: int) -> None:
        if channels != self._channels:
            self._check(channels)
            self._channels = channels
        if self._ring is None:
            self._ring = Ring(self.settings.room, channels)

    def _admit(self, stamp: int, row: np.ndarray, usable: bool, saturated: bool) -> None:
        self._counts.pushed += 1
        if not usable:
            self._counts.not_finite += 1
        elif self._order.admit(stamp, row):
            self._counts.saturated += saturated

    def _store(self, stamp: int, row: np.ndarray) -> None:
        ring, sealing = self._ring, self._sealing
        if ring is None:
            return
        if sealing.origin is None:
            self._first = ring.end
        if ring.end >= ring.room:
            self._give_up(ring)
        ring.store(stamp, row)
        if ring.end - self._first == ENOUGH and self.settings.capacity is None:
            self._judge(stamp - sealing.start(0))
        whole = sealing.store(stamp)
        if whole:
            self._counts.skipped += len(whole) - (self._waiting is None)
            newest = whole[-1]
            start = sealing.start(newest)
            self._waiting = _Sealed(sealing.run, newest, start, self._first, ring.end, time.monotonic())

    def _judge(self, took_ns: int) -> None:
        """Whether the ring is full long before a window ends, at the rate of the first ENOUGH samples of a run."""
        fits = took_ns * self.settings.room > ENOUGH * self.settings.span_ns / 2
        self._crowded = None if fits else f"{ENOUGH} samples within {took_ns:,} ns"

    def _refuse_crowded(self) -> None:
        if self._crowded is not None:
            raise InputError(
                "stamps are too close together for a whole window",
                got=self._crowded,
                expected=f"stamps in nanoseconds, and at most {self.settings.room:,} samples in a window",
                do="give nanoseconds, or a `capacity` for so fast a sensor; open another stream",
            )

    def _give_up(self, ring: Ring) -> None:
        """Count what is lost when the oldest sample is overwritten, and with it every window that needed it.

        A window needs the last sample at or before its start, and all after it.
        """
        oldest, needed = ring.begin, False
        after = ring.stamp(oldest + 1)
        waiting = self._waiting
        if waiting is not None and oldest >= waiting.first and after > waiting.start_ns:
            self._waiting, needed = None, True
            self._counts.invalid += 1
        if oldest >= self._first and after > self._sealing.wanted:
            self._sealing.break_at(after)
            needed = True
        self._counts.overrun += needed
