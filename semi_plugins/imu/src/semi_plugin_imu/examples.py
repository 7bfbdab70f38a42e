"""Three made-up movements, for `semi plugins check` to try encoders on."""

from __future__ import annotations

from typing import Any

import numpy as np

from semi_plugin_imu.units import STANDARD_GRAVITY

RATE = 50
SECONDS = 2


def examples() -> tuple[dict[str, Any], ...]:
    """An arm at rest, an arm that swings once a second, and one that is shaken, as they stand in a pairs file."""
    time = np.arange(SECONDS * RATE) / RATE
    return tuple(
        {"data": np.round(_arm(time, hertz, reach), 4).tolist(), "rate": RATE, "units": "SI"}
        for hertz, reach in ((0.2, 0.02), (1.0, 1.0), (5.0, 0.3))
    )


def _arm(time: np.ndarray, hertz: float, reach: float) -> np.ndarray:
    """Acceleration and angular velocity (T, 6) of a wrist 0.6 m from the shoulder, hanging down and turning about y."""
    turn = 2 * np.pi * hertz
    angle, speed = reach * np.sin(turn * time), reach * turn * np.cos(turn * time)
    still = np.zeros_like(time)
    x = STANDARD_GRAVITY * np.cos(angle) + 0.6 * speed**2
    z = STANDARD_GRAVITY * np.sin(angle) - 0.6 * turn**2 * angle
    return np.stack((x, still, z, still, speed, still), axis=1)
