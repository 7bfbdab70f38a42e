"""Three made-up clips, for `semi plugins check` to try encoders on."""

from __future__ import annotations

from typing import Any

import numpy as np

SIDE, FRAMES, FPS = 24, 8, 8


def examples() -> tuple[dict[str, Any], ...]:
    """A red block that moves to the right, a blue one that grows, and a green one that blinks, as in a pairs file."""
    clips = np.full((3, FRAMES, SIDE, SIDE, 3), 255, np.uint8)
    for time in range(FRAMES):
        clips[0, time, 8:16, 2 * time : 2 * time + 8] = (200, 30, 30)
        clips[1, time, 12 - time : 12 + time, 12 - time : 12 + time] = (30, 30, 200)
        if time % 2:
            clips[2, time, 6:18, 6:18] = (30, 160, 30)
    return tuple({"frames": clip.tolist(), "fps": FPS} for clip in clips)
