"""Films that FFmpeg reads, through PyAV (extra `film`): MP4, WebM, AVI, MOV, MKV, ..."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from semi.errors import InputError, PairsError

from semi_plugin_video.sources.sampling import Frame

EXTRA = "pip install 'semi-plugin-video[film]'"


def check(path: Path) -> None:
    """Open a film and decode its first frame.

    Raises:
        InputError: PyAV is not installed.
        PairsError: it cannot be read, or has no pictures.
    """
    if next(stream(path), None) is None:
        raise PairsError(f"The film {path} has no frames.", expected="a film with pictures")


def stream(path: Path, start: float = 0.0, duration: float = float("inf")) -> Iterator[Frame]:
    """The frames of a part of a film with their times.

    Args:
        start: seconds from the film's beginning.
        duration: seconds.

    Raises:
        InputError: PyAV is not installed.
        PairsError: the file is damaged, or has no pictures.
    """
    with _opened(path) as container:
        pictures = container.streams.video[0]
        usual = float(1 / pictures.average_rate) if pictures.average_rate else 0.04
        beginning = float((pictures.start_time or 0) * pictures.time_base)
        if start:
            # The last key frame before it: what comes after needs it to be decoded.
            container.seek(int((beginning + start) / pictures.time_base), stream=pictures)
        for frame in container.decode(pictures):
            begin = (frame.time if frame.time is not None else beginning) - beginning
            end = begin + (float(frame.duration * frame.time_base) if frame.duration else usual)
            if end <= start:
                continue
            if begin >= start + duration:
                return
            yield Frame(begin, end, frame.to_image)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """An open container, whose errors, whenever they come, are ours."""
    try:
        av: Any = import_module("av")
    except ImportError as error:
        raise InputError(
            f"{path} is no animation that Pillow reads, and PyAV, which reads films, is not installed",
            expected="GIF, APNG or WebP, or PyAV",
            do=EXTRA,
        ) from error
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise PairsError(f"{path} has no pictures in it", got="no video stream", expected="a film")
            yield container
    except av.error.FFmpegError as error:
        raise PairsError(f"The film {path} cannot be read.", got=error, expected="a film that FFmpeg knows") from error
