"""Which frames an encoder sees: n at even distances in time, whatever the source."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from PIL import Image

KEPT = 512
"""Frames of a stream in memory at most: 77 MB at 224 pixels. Of longer ones every second, fourth, ... is kept."""

INSTANT = 1e-6
"""Seconds: a frame that begins just now is shown, whatever its time was rounded to."""


class Frame(NamedTuple):
    """A frame of a stream, when it appears and when the next one does, in seconds."""

    begin: float
    end: float
    picture: Callable[[], Image.Image]
    """Opens it, RGB; only called before the stream goes on."""


def middles(n: int, seconds: float) -> np.ndarray:
    """Moments in the middle of n equal parts, (n,), seconds."""
    return (np.arange(n) + 0.5) * seconds / n


def from_stream(
    frames: Iterator[Frame], n: int, small: Callable[[Image.Image], Image.Image]
) -> tuple[list[Image.Image], float]:
    """The n frames that are shown in the middles of n equal parts of a stream, made small, and its length in seconds.

    A stream's length is known at its end only, so frames are kept until then.
    """
    kept: list[tuple[float, Image.Image]] = []
    stride, first, last = 1, 0.0, 0.0
    for number, frame in enumerate(frames):
        first = frame.begin if number == 0 else first
        last = frame.end
        if number % stride == 0:
            kept.append((frame.begin, small(frame.picture())))
            if len(kept) > KEPT:
                kept, stride = kept[::2], 2 * stride
    if not kept:
        return [], 0.0
    begins = np.array([begin for begin, _ in kept])
    shown = np.searchsorted(begins, first + middles(n, last - first) + INSTANT, side="right") - 1
    return [kept[max(0, index)][1] for index in shown], last - first
