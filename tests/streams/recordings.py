"""Recordings of a sensor that misbehaves, for properties of streams."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

MS = 1_000_000
SETTINGS: dict[str, Any] = {"rate_hz": 50.0, "window_s": 0.2, "hop_s": 0.1, "capacity": 4000}
STEPS = (0, 1, 300_000, 4 * MS, 5 * MS, 5 * MS + 1, 7 * MS, 20 * MS, 99 * MS, 101 * MS, 400 * MS, 3_600_000 * MS)
"""ns from sample to sample: duplicates, bursts, jitter, gaps within and beyond the tolerance of 100 ms, an hour."""


@st.composite
def rising(draw: st.DrawFn, steps: tuple[int, ...] = STEPS) -> list[int]:
    """Stamps that do not fall, mostly at 200 Hz."""
    count = draw(st.integers(1, 150))
    odd = draw(st.lists(st.tuples(st.integers(0, count - 1), st.sampled_from(steps)), max_size=12))
    taken = np.full(count, draw(st.sampled_from((5 * MS, 10 * MS, 25 * MS))))
    for place, step in odd:
        taken[place] = step
    return (draw(st.sampled_from((0, -7 * MS, 1_700_000_000_123_456_789))) + np.cumsum(taken)).tolist()


@st.composite
def unruly(draw: st.DrawFn) -> list[int]:
    """Stamps as they come: the clock jumps back too, by little or by much."""
    stamps: list[int] = []
    for part in draw(st.lists(rising(), min_size=1, max_size=3)):
        back = draw(st.sampled_from((0, 3 * MS, 40 * MS, 90 * MS, 700 * MS, 10**13)))
        start = stamps[-1] - back if stamps else part[0]
        stamps += [start + stamp - part[0] for stamp in part]
    return stamps


def signal(count: int, seed: int, channels: int = 3) -> np.ndarray:
    """Values (count, channels), a few of them not finite."""
    g = np.random.default_rng(seed)
    values = g.normal(size=(count, channels)) * 10.0 ** g.integers(-3, 4, size=channels)
    values[g.random(count) < 0.03, 0] = g.choice([np.nan, np.inf, -np.inf])
    return values
