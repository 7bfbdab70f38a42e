"""How one frame became the next: shift, turn and zoom by phase correlation. Numbers of whole pixels and cells."""

from __future__ import annotations

import numpy as np

SIDE = 64
ANGLES, RADII = 32, 32
INNER, OUTER = 2.0, 30.0
"""Cycles a frame between which spectra are compared: coarser is lightness, finer is noise."""


def _window() -> np.ndarray:
    hann = np.hanning(SIDE)
    return np.outer(hann, hann)


WINDOW = _window()
_ANGLE = np.arange(ANGLES) * np.pi / ANGLES  # half a turn: spectra of real images are symmetric
_RADIUS = INNER * (OUTER / INNER) ** (np.arange(RADII) / (RADII - 1))
ROWS = np.rint(SIDE / 2 + np.outer(np.sin(_ANGLE), _RADIUS)).astype(int)  # (32, 32)
COLUMNS = np.rint(SIDE / 2 + np.outer(np.cos(_ANGLE), _RADIUS)).astype(int)
ZOOM = np.log(OUTER / INNER) / (RADII - 1)
"""Logarithm of the zoom that a step between radii stands for."""


def shift(before: np.ndarray, after: np.ndarray) -> tuple[float, float, float]:
    """Pixels down and to the right, -32 to 31, and how sure it is (0 to 1), of two frames (64, 64).

    Frames without a change have no shift.
    """
    if np.array_equal(before, after):
        return 0.0, 0.0, 1.0
    surface = _phase_correlation(before - before.mean(), after - after.mean())
    row, column = np.unravel_index(int(surface.argmax()), surface.shape)
    return float(_centred(int(row), SIDE)), float(_centred(int(column), SIDE)), float(surface[row, column])


def turn_and_zoom(before: np.ndarray, after: np.ndarray) -> tuple[float, float]:
    """Turn in radians, clockwise as seen, within a quarter turn, and logarithm of the zoom, of two frames (64, 64)."""
    if np.array_equal(before, after):
        return 0.0, 0.0
    surface = _phase_correlation(_log_polar(before), _log_polar(after))
    angle, radius = np.unravel_index(int(surface.argmax()), surface.shape)
    # What grows has its spectrum shrink.
    return _centred(int(angle), ANGLES) * np.pi / ANGLES, -_centred(int(radius), RADII) * ZOOM


def _phase_correlation(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    cross = np.fft.rfft2(after) * np.conj(np.fft.rfft2(before))
    size = np.abs(cross)
    return np.fft.irfft2(cross / (size + 1e-3 * size.max() + 1e-12), before.shape)


def _log_polar(light: np.ndarray) -> np.ndarray:
    """The spectrum's size by angle and logarithm of the frequency, (32, 32); a shift of the frame does not matter."""
    spectrum = np.fft.fftshift(np.abs(np.fft.fft2((light - np.median(light)) * WINDOW)))
    sampled = np.log1p(spectrum[ROWS, COLUMNS])
    flat: np.ndarray = sampled - sampled.mean(0)
    return flat


def _centred(index: int, n: int) -> int:
    return index - n if index >= n / 2 else index
