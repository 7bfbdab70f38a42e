"""A sensor at 200 Hz with every fault there is, and the exact counts that it must lead to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from semi.streams.counts import Counts
from tests.streams.recordings import MS

STEP = 5 * MS
GAP = 100 * MS
HOUR = 3_600_000 * MS
SETTINGS: dict[str, Any] = {"rate_hz": 50.0, "window_s": 2.0, "hop_s": 0.5, "tolerance_s": 0.05, "limits": 100.0}
"""Of a stream that gets it."""
OF_WINDOWS = {"windows", "invalid", "skipped", "given"}
"""Counts that depend on who reads, and when."""


def faulty(seconds: int, counts: Counts, seed: int = 0) -> Iterator[tuple[int, np.ndarray]]:
    """Stamps and samples (6,) of so many seconds; what they must lead to is added to the counts of samples and gaps.

    In turns of 10 s: a gap of 100 ms, a duplicate, a NaN, a saturated sample. Every minute the clock jumps forth by an
    hour, and half a minute later back by two.
    """
    g = np.random.default_rng(seed)
    stamp = 1_700_000_000_000 * MS
    late_until: int | None = None
    for second in range(seconds):
        values = g.normal(size=(200, 6))
        for i, row in enumerate(values):
            stamp += STEP
            fault = (second % 10) if i == 100 else None
            if fault == 1:
                stamp += GAP
            if i == 0 and second and second % 60 == 0:
                stamp += HOUR
            if i == 0 and second % 60 == 30:
                stamp -= 2 * HOUR
                late_until = stamp + 500 * MS
            counts.pushed += 1
            if fault == 3:
                row[second % 6] = (np.nan, np.inf)[second % 2]
                counts.not_finite += 1
            elif late_until is not None and stamp < late_until:
                counts.late += 1
            else:
                counts.restarts += stamp == late_until
                if fault == 5:
                    row[0] = -100.0
                    counts.saturated += 1
                if step := GAP if fault == 1 else HOUR if i == 0 and second and second % 60 == 0 else 0:
                    counts.gaps += 1
                    counts.gap_ns += step + STEP
                counts.stored += 1
                late_until = None
            yield stamp, row
            if fault == 7:
                counts.pushed += 1
                counts.duplicates += 1
                yield stamp, -row


def resident() -> int:
    """Bytes of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
