"""Clips as files in semi's cache."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image
from semi.artifacts import write_bytes


def write_animation(path: Path, frames: Sequence[Image.Image], milliseconds: Sequence[int]) -> None:
    """An APNG: without loss, so that the same frames give the same embedding whatever wrote them."""
    buffer = io.BytesIO()
    frames[0].save(
        buffer,
        "PNG",
        save_all=True,
        append_images=list(frames[1:]),
        duration=list(milliseconds),
        # Pillow makes one frame of equal ones in a row, and one picture of a clip in which nothing moves, unless their
        # blending differs; for opaque frames both ways are the same.
        blend=[number % 2 for number in range(len(frames))],
        loop=0,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, buffer.getvalue())
