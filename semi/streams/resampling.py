"""Samples at any stamps to samples on a grid: linear, slerp for quaternions, anti-aliased where the source is faster.

A window's numbers depend on nothing but the samples in it and its two neighbours: no filter has a state, so it does not
matter in which portions the samples came.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

FASTER = 1.1
"""A source this many times as fast as the grid could fold fast motion into slow: it is averaged. Less is jitter."""


def resampled(
    stamps: np.ndarray, samples: np.ndarray, start: int, offsets: np.ndarray, quaternions: Sequence[int] = ()
) -> np.ndarray:
    """The signal on a grid, (n, channels) float64.

    Between samples the signal is a straight line, and a great circle for quaternions. Where there are more than 1.1
    samples a step of the grid, each value is the mean of the signal over half a step to either side of it, within the
    grid; that of a quaternion is brought to length 1. Of q and -q, which are the same rotation, the first of a window
    has its largest component positive and the others follow on it.

    Args:
        stamps: (m,) int64 ns, increasing; the first at or before the grid's first, the last at or after its last.
        samples: (m, channels) float64, finite.
        start: the grid's first stamp, ns.
        offsets: of the grid after it, (n,) ns from 0, increasing, n at least 2.
        quaternions: first channels of quaternions.
    """
    time, grid = (stamps - start).astype(np.float64), offsets.astype(np.float64)
    if quaternions:
        samples = samples.copy()
        for first in quaternions:
            samples[:, first : first + 4] = _continuous(samples[:, first : first + 4])
    faster = (len(time) - 1) * grid[-1] > FASTER * (len(grid) - 1) * (time[-1] - time[0])
    values = _means(grid, time, samples) if faster else _lines(grid, time, samples)
    for first in quaternions:
        at = slice(first, first + 4)
        turned = _circles(grid, time, samples[:, at])
        length = np.linalg.norm(values[:, at], axis=1, keepdims=True)
        # a mean shorter than a half is one of rotations all around, which says nothing
        values[:, at] = np.where(faster & (length > 0.5), values[:, at] / np.maximum(length, 0.5), turned)
    return values


def _lines(grid: np.ndarray, time: np.ndarray, samples: np.ndarray) -> np.ndarray:
    left, part = _between(grid, time)
    below, above = samples[left], samples[left + 1]
    values: np.ndarray = below * (1 - part) + above * part  # exact at the samples, and never beyond them
    return values


def _means(grid: np.ndarray, time: np.ndarray, samples: np.ndarray) -> np.ndarray:
    """Exact: the signal is straight between knots, where either a sample is or a mean begins."""
    edges = np.concatenate((grid[:1], (grid[1:] + grid[:-1]) / 2, grid[-1:]))  # (n + 1,)
    knots = np.union1d(edges, time[(time > grid[0]) & (time < grid[-1])])
    signal = _lines(knots, time, samples)
    begins = np.searchsorted(knots, edges)
    widths = np.repeat(np.diff(edges), np.diff(begins))
    parts = (np.diff(knots) / widths)[:, None] * (signal[1:] / 2 + signal[:-1] / 2)
    means: np.ndarray = np.add.reduceat(parts, begins[:-1], axis=0)  # (n, channels)
    return means


def _circles(grid: np.ndarray, time: np.ndarray, unit: np.ndarray) -> np.ndarray:
    """Slerp (Shoemake 1985) of unit quaternions (m, 4), each at most 90 degrees in their space from the next."""
    left, part = _between(grid, time)
    below, above = unit[left], unit[left + 1]
    angle = 2 * np.arctan2(np.linalg.norm(above - below, axis=1), np.linalg.norm(above + below, axis=1))[:, None]
    # sin(p a) / sin(a) by sinc, which has no 0 / 0 where the rotation stands still
    scale = np.sinc(angle / np.pi)
    weights = (1 - part) * np.sinc((1 - part) * angle / np.pi), part * np.sinc(part * angle / np.pi)
    return _unit((below * weights[0] + above * weights[1]) / scale)


def _between(grid: np.ndarray, time: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each of the grid (n,): the sample at its left (n,), and how far it is on the way to the next (n, 1)."""
    left = np.clip(np.searchsorted(time, grid, side="right") - 1, 0, len(time) - 2)
    part = (grid - time[left]) / (time[left + 1] - time[left])
    return left, part[:, None]


def _continuous(quaternions: np.ndarray) -> np.ndarray:
    """Of length 1, and of the two signs the one nearer to the quaternion before."""
    unit = _unit(quaternions)
    turns = np.where((unit[1:] * unit[:-1]).sum(1) < 0, -1.0, 1.0)
    largest = unit[0, np.argmax(np.abs(unit[0]))]
    signs = np.cumprod(np.concatenate(([-1.0 if largest < 0 else 1.0], turns)))
    continuous: np.ndarray = unit * signs[:, None]
    return continuous


def _unit(vectors: np.ndarray) -> np.ndarray:
    largest = np.abs(vectors).max(1, keepdims=True)  # first, because squares of tiny ones vanish
    scaled = vectors / largest
    unit: np.ndarray = scaled / np.linalg.norm(scaled, axis=1, keepdims=True)
    return unit
