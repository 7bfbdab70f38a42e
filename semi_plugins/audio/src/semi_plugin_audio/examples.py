"""Three made-up sounds, for `semi plugins check` to try encoders on."""

from __future__ import annotations

from typing import Any

import numpy as np

RATE = 8000
SECONDS = 0.5


def examples() -> tuple[dict[str, Any], ...]:
    """A bell, a gust of noise and a rising chirp, as they stand in a pairs file."""
    time = np.arange(int(SECONDS * RATE)) / RATE
    noise = np.random.default_rng(0).normal(0, 0.15, len(time))
    sounds = (
        0.5 * np.exp(-8 * time) * sum(np.sin(2 * np.pi * 440 * ratio * time) / ratio for ratio in (1.0, 2.76, 5.4)),
        noise * np.sin(np.pi * time / SECONDS) ** 2,
        0.5 * np.sin(2 * np.pi * (200 * time + 1500 * time**2)),
    )
    return tuple({"data": np.round(sound, 4).tolist(), "rate": RATE} for sound in sounds)
