"""Time stamps to an even sampling rate, and one even rate to another."""

from __future__ import annotations

import numpy as np
from semi.errors import PairsError

JITTER = 0.1
"""Of a period: stamps that are off by less are taken for even, as the clock is less exact than the sensor."""
GAP = 5.0
"""Periods: what is missing between two stamps is interpolated up to this, and refused beyond."""
SAME = 1e-3
"""Relative: rates that differ by less are one."""


def evened(time: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, float]:
    """Values at an even rate, interpolated where the stamps are uneven.

    Args:
        time: (T,) seconds, increasing.
        values: (T, k).

    Returns:
        Values (T', k) and their rate in Hz.

    Raises:
        PairsError: fewer than two stamps, stamps that do not increase, or a gap.
    """
    if len(time) < 2:
        raise PairsError("too few time stamps", got=len(time), expected="at least 2")
    steps = np.diff(time)
    if not np.isfinite(steps).all() or (steps <= 0).any():
        bad = int(np.argmin(np.where(np.isfinite(steps), steps, -np.inf)))
        raise PairsError(
            "the time stamps do not increase", got=f"{time[bad]:.9g} s, then {time[bad + 1]:.9g} s (row {bad + 2})"
        )
    period = float(np.median(steps))
    if steps.max() > GAP * period:
        bad = int(np.argmax(steps))
        raise PairsError(
            "there is a gap in the recording",
            got=f"{steps[bad]:.3g} s without a measurement, {time[bad] - time[0]:.3f} s after the start",
            expected=f"at most {GAP:g} periods of {period:.4g} s",
            do="choose a window without it by `start` and `duration`",
        )
    mean = float(time[-1] - time[0]) / (len(time) - 1)
    if np.abs(time - time[0] - mean * np.arange(len(time))).max() <= JITTER * mean:
        return values, _rounded(1 / mean)
    grid = time[0] + period * np.arange(int((time[-1] - time[0]) / period + 1e-6) + 1)
    return _interpolated(grid, time, values), _rounded(1 / period)


def at_rate(values: np.ndarray, rate: float, target: float) -> np.ndarray:
    """Values (T, k) at `rate` Hz as (T', k) at `target` Hz, starting at the same moment.

    Upwards by linear interpolation. Downwards each value is the mean over its own period, so that what is faster than
    the new rate can show is averaged away rather than folded into slower motion.
    """
    if abs(rate - target) <= SAME * target:
        return values
    time = np.arange(len(values)) / rate
    grid = np.arange(int(time[-1] * target + 1e-6) + 1) / target
    if target > rate:
        return _interpolated(grid, time, values)
    edges = np.append(time, time[-1] + 1 / rate) - 0.5 / rate  # every value holds for half a period on either side
    total = np.concatenate((np.zeros((1, values.shape[1])), np.cumsum(values, 0) / rate))
    low, high = np.maximum(grid - 0.5 / target, edges[0]), np.minimum(grid + 0.5 / target, edges[-1])
    area = _interpolated(high, edges, total) - _interpolated(low, edges, total)
    mean: np.ndarray = area / (high - low)[:, None]
    return mean


def _interpolated(grid: np.ndarray, time: np.ndarray, values: np.ndarray) -> np.ndarray:
    return np.stack([np.interp(grid, time, column) for column in values.T], axis=1)


def _rounded(rate: float) -> float:
    """Stamps in floating-point seconds give 49.99999998 Hz; six digits are more than a crystal keeps."""
    return float(f"{rate:.6g}")
