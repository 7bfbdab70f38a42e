"""Power spectra and mel bands, in numpy: the front end of most networks that hear."""

from __future__ import annotations

from functools import cache

import numpy as np

_BREAK, _STEP = 1000.0, 200 / 3
"""Slaney's scale: linear below 1 kHz, 200/3 Hz a mel, then 27 mels for each factor of 6.4."""


def power_spectrum(signal: np.ndarray, size: int, hop: int) -> np.ndarray:
    """Power (frames, size // 2 + 1) of a signal (T,), frames of `size` every `hop` values, Hann window (periodic)."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)
    frames = np.lib.stride_tricks.sliding_window_view(signal.astype(np.float64), size)[::hop]  # (frames, size)
    power: np.ndarray = np.abs(np.fft.rfft(frames * window, axis=1)) ** 2
    return power


@cache
def mel_filters(bands: int, size: int, rate: int) -> np.ndarray:
    """Weights (bands, size // 2 + 1) of overlapping triangles of equal area, from 0 Hz to half the rate.

    Slaney's scale and normalisation, as in librosa and Whisper. Do not write into it.
    """
    edges = _hertz(np.linspace(0, _mel(rate / 2), bands + 2))  # (bands + 2,)
    frequencies = np.fft.rfftfreq(size, 1 / rate)
    rising = (frequencies - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - frequencies) / np.diff(edges)[1:, None]
    areas = (edges[2:] - edges[:-2])[:, None] / 2
    weights: np.ndarray = np.clip(np.minimum(rising, falling), 0, None) / areas
    return weights


def _mel(hertz: float) -> float:
    return float(hertz / _STEP if hertz < _BREAK else _BREAK / _STEP + 27 * np.log(hertz / _BREAK) / np.log(6.4))


def _hertz(mels: np.ndarray) -> np.ndarray:
    above = np.maximum(mels - _BREAK / _STEP, 0)
    return np.where(above > 0, _BREAK * np.exp(above * np.log(6.4) / 27), mels * _STEP)
