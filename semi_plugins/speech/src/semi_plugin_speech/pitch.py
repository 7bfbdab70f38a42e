"""How high a voice or tone is: autocorrelation, frame by frame."""

from __future__ import annotations

import numpy as np

SIZE, HOP = 1024, 256
"""Values at 16 kHz: 64 ms, every 16 ms."""


def pitch(signal: np.ndarray, rate: int, low: float = 60.0, high: float = 500.0) -> tuple[np.ndarray, np.ndarray]:
    """Pitch (frames,) in Hz, and how periodic each frame is (frames,), 0 to 1; both of the loud frames alone.

    The lag at which a frame is most like itself (normalised autocorrelation, taking the first peak that reaches 85 %
    of the highest, lest an octave below be taken for it). Loud is what comes within 25 dB of the loudest frame.

    Args:
        signal: (T,).
        rate: Hz, of the order of 16000.
        low: Hz, the lowest pitch looked for.
        high: Hz, the highest.
    """
    padded = np.pad(signal.astype(np.float64), (0, max(0, SIZE - len(signal))))
    frames = np.lib.stride_tricks.sliding_window_view(padded, SIZE)[::HOP]
    power = (frames**2).mean(1)
    frames = frames[(power > 0) & (power >= power.max() / 10**2.5)]
    if not len(frames):
        return np.zeros(0), np.zeros(0)
    frames = frames - frames.mean(1, keepdims=True)
    spectrum = np.abs(np.fft.rfft(frames, 2 * SIZE)) ** 2
    likeness = np.fft.irfft(spectrum)[:, :SIZE]
    likeness = likeness / np.maximum(likeness[:, :1], 1e-12) / (1 - np.arange(SIZE) / SIZE)  # of overlapping parts
    lags = np.arange(int(rate / high), min(int(rate / low) + 1, SIZE // 2 + SIZE // 4))
    here = likeness[:, lags]
    peak = (here >= likeness[:, lags - 1]) & (here >= likeness[:, lags + 1])
    best = np.where(peak, here, 0).max(1, keepdims=True)
    first = np.argmax(peak & (here >= 0.85 * best), axis=1)
    return rate / lags[first], np.clip(best[:, 0], 0, 1)
