"""Three made-up voices, for `semi plugins check` to try encoders on."""

from __future__ import annotations

from typing import Any

import numpy as np

RATE = 8000
SECONDS = 0.5


def examples() -> tuple[dict[str, Any], ...]:
    """A low "ah", a high "ee" and a voice that rises from "oo" to "ah", as they stand in a pairs file."""
    time = np.arange(int(SECONDS * RATE)) / RATE
    still, rising = np.zeros_like(time), time / SECONDS
    voices = (
        _voice(110 + 10 * rising, 700 + still, 1100 + still),
        _voice(220 + 20 * rising, 300 + still, 2500 + still),
        _voice(130 + 70 * rising, 300 + 400 * rising, 800 + 300 * rising),
    )
    return tuple({"data": np.round(voice, 4).tolist(), "rate": RATE} for voice in voices)


def _voice(pitch: np.ndarray, *formants: np.ndarray) -> np.ndarray:
    """Harmonics of a pitch (T,) in Hz, strong near the formants (T,) in Hz."""
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    sound = np.zeros_like(pitch)
    for harmonic in range(1, 30):
        frequency = harmonic * pitch
        strength = np.sum([1 / (1 + ((frequency - formant) / 100) ** 2) for formant in formants], axis=0)
        sound += np.where(frequency < 0.45 * RATE, strength * np.sin(harmonic * phase), 0)
    scaled: np.ndarray = 0.3 * sound / np.abs(sound).max()
    return scaled
