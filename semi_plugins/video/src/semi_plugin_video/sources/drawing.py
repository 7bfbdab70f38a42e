"""A clip as a small animation for reports."""

from __future__ import annotations

import base64
import io

from semi_plugin_video.sources.reading import Sample, shown

FRAMES, SIDE = 12, 96
LONGEST = 4.0
"""Seconds: longer clips are shown faster."""


def as_html(sample: Sample) -> str:
    """A self-contained <img> that moves."""
    pictures, seconds = shown(sample, FRAMES, SIDE)
    buffer = io.BytesIO()
    milliseconds = round(1000 * min(seconds, LONGEST) / FRAMES)
    pictures[0].save(
        buffer, "WEBP", save_all=True, append_images=pictures[1:], duration=max(20, milliseconds), loop=0, quality=70
    )
    data = base64.b64encode(buffer.getvalue()).decode()
    return f'<img alt="clip of {seconds:.3g} s" src="data:image/webp;base64,{data}">'
