"""Windows cut by stamp, of a recording as a whole; `semi.streams.cutter` cuts the same while it runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from operator import index
from typing import Any

import numpy as np

from semi.errors import InputError
from semi.streams.counts import Counts
from semi.streams.order import Order
from semi.streams.resampling import resampled
from semi.streams.settings import StreamSettings

FARTHEST = 2**62
"""Stamps lie within +-this many ns (146 years), so that their differences are int64 too."""


@dataclass(frozen=True, eq=False)
class Window:
    """A stretch of a stream at an even rate."""

    run: int
    """How often the clock had jumped back before it."""
    number: int
    """Within the run; of those left out too."""
    start_ns: int
    end_ns: int
    """Stamps of its first and last sample."""
    values: np.ndarray
    """(n, channels), float64."""
    sealed_at: float = 0.0
    """`time.monotonic()` when the sample came that completed it; 0 for one of a recording."""


def cut(stamps_ns: Sequence[int] | np.ndarray, samples: Any, settings: StreamSettings) -> tuple[list[Window], Counts]:
    """All whole windows of a recording, and its counts: what a stream gives if each window is taken at once.

    Args:
        stamps_ns: (m,) in the order in which the samples came.
        samples: (m, channels).

    Raises:
        InputError: as `Cutter.push_many`.
        SessionError: a sample is late, and the policy is "raise".
    """
    stamps = [as_stamp(stamp) for stamp in stamps_ns]
    rows = as_numbers(samples, 2)
    if len(stamps) != len(rows):
        raise InputError("stamps and samples differ in number", got=f"{len(stamps)} and {len(rows)}")
    settings.check_channels(rows.shape[1])
    counts = Counts(pushed=len(rows))
    runs: list[list[tuple[int, int]]] = [[]]
    order: Order[int] = Order(settings, counts, lambda *stored: runs[-1].append(stored), lambda: runs.append([]))
    usable, saturated = settings.usable(rows).tolist(), settings.saturated(rows).tolist()
    for place, stamp in enumerate(stamps):
        if not usable[place]:
            counts.not_finite += 1
        elif order.admit(stamp, place):
            counts.saturated += saturated[place]
    order.flush()
    windows: list[Window] = []
    for run, stored in enumerate(runs):
        if stored:
            times, places = np.array(stored, np.int64).T
            windows += _cut_run(times, rows[places], settings, counts, run)
    counts.given = len(windows)
    return windows, counts


def _cut_run(times: np.ndarray, rows: np.ndarray, settings: StreamSettings, counts: Counts, run: int) -> list[Window]:
    """The whole windows of samples (m, channels) whose stamps (m,) increase; counts what the run adds."""
    origin, hop, span = int(times[0]), settings.hop_ns, settings.span_ns
    steps = np.diff(times)
    gaps = np.flatnonzero(steps > settings.tolerance_ns)
    counts.gaps += len(gaps)
    counts.gap_ns += int(steps[gaps].sum())
    windows = []
    for first, end in pairwise([0, *(gaps + 1).tolist(), len(times)]):
        begins, ends = int(times[first]), int(times[end - 1])
        for number in range(-((origin - begins) // hop), (ends - span - origin) // hop + 1):
            start = origin + number * hop
            at = slice(before(times, start), int(np.searchsorted(times, start + span)) + 1)
            windows.append(make_window(settings, times[at], rows[at], run, number, start))
    sealed = max(0, (int(times[-1]) - span - origin) // hop + 1)
    counts.windows += sealed
    counts.invalid += sealed - len(windows)
    return windows


def make_window(
    settings: StreamSettings,
    stamps: np.ndarray,
    samples: np.ndarray,
    run: int,
    number: int,
    start: int,
    sealed_at: float = 0.0,
) -> Window:
    """The window of the samples from the last at or before its start to the first at or after its end."""
    values = resampled(stamps, samples, start, settings.offsets, settings.quaternions)
    return Window(run, number, start, start + settings.span_ns, values, sealed_at)


def before(stamps: np.ndarray, start: int) -> int:
    """Index of the last stamp at or before `start`."""
    return int(np.searchsorted(stamps, start, side="right")) - 1


def as_stamp(stamp_ns: Any) -> int:
    """A stamp in ns.

    Raises:
        InputError: not a whole number, or too far from 0.
    """
    try:
        stamp = index(stamp_ns)
    except TypeError:
        stamp = FARTHEST
    if not -FARTHEST < stamp < FARTHEST:
        raise InputError("not a stamp", got=repr(stamp_ns), expected="whole nanoseconds, within 146 years of 0")
    return stamp


def as_numbers(samples: Any, dimensions: int) -> np.ndarray:
    """A copy, as the caller may use its buffer again: (channels,) or (m, channels), float64.

    Raises:
        InputError: no numbers, or of another shape.
    """
    try:
        numbers = np.array(samples)
        if numbers.dtype.kind not in "fiub":  # of text NumPy would make numbers
            raise TypeError(numbers.dtype)
        numbers = numbers.astype(np.float64, copy=False)
    except (TypeError, ValueError) as error:
        raise InputError("not a sample", got=repr(samples)[:80], expected="numbers") from error
    if numbers.ndim != dimensions or not numbers.shape[-1]:
        expected = "(channels,)" if dimensions == 1 else "(samples, channels)"
        raise InputError("samples of another shape", got=numbers.shape, expected=expected)
    return numbers
