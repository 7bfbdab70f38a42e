"""A signal at another rate, without aliasing."""

from __future__ import annotations

from functools import lru_cache
from math import gcd

import numpy as np

ZEROS = 24
"""Crossings of zero on each side of the kernel."""
BETA = 8.6
"""Of the Kaiser window: 80 dB."""
ROLLOFF = 0.94
"""Where the band ends that passes, of half the lower rate."""


def resampled(signal: np.ndarray, rate: int, to: int) -> np.ndarray:
    """A signal (T,) at `rate` as ceil(T * to / rate) values at `to`, float32; the first value stays the first.

    A windowed sinc, cut off below half of the lower rate. As rates are whole numbers, only `to` / gcd kernels occur.

    Args:
        signal: (T,).
        rate: Hz.
        to: Hz.
    """
    if rate == to:
        return signal.astype(np.float32)
    shared = gcd(rate, to)
    up, down = to // shared, rate // shared
    kernels = _kernels(up, down)  # (up, 2 reach)
    reach = kernels.shape[1] // 2
    result = np.empty(-(-len(signal) * up // down), np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(signal.astype(np.float64), (reach, reach + 1)), 2 * reach)
    for phase, kernel in enumerate(kernels[: len(result)]):
        place = result[phase::up]
        place[:] = windows[phase * down // up + 1 :: down][: len(place)] @ kernel
    return result


@lru_cache(maxsize=16)
def _kernels(up: int, down: int) -> np.ndarray:
    """For each of `up` phases the weights (up, 2 reach) of the values around its place; each row sums to 1."""
    cutoff = ROLLOFF * min(1.0, up / down)
    reach = int(np.ceil(ZEROS / cutoff))
    offsets = (np.arange(up) * down % up) / up  # behind the value before it
    distance = np.arange(1 - reach, reach + 1) - offsets[:, None]
    window = np.i0(BETA * np.sqrt(np.clip(1 - (distance / (reach + 1)) ** 2, 0, None)))
    weights = np.sinc(cutoff * distance) * window
    scaled: np.ndarray = weights / weights.sum(1, keepdims=True)
    return scaled
