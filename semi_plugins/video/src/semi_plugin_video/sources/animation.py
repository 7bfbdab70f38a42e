"""Animations that Pillow reads: GIF, APNG, WebP."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image, UnidentifiedImageError
from semi.errors import PairsError

from semi_plugin_video.sources.sampling import Frame

SHORTEST, USUAL = 0.010, 0.100
"""Browsers show a frame of 10 ms or less, or without a time, for 100 ms; animations are made for that."""


def is_picture(path: Path) -> bool:
    """Whether Pillow knows the file's format.

    Raises:
        OSError: the file cannot be opened.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of size: reading it will judge that
            with Image.open(path):
                return True
    except UnidentifiedImageError:
        return False
    except Image.DecompressionBombError:
        return True


def check(path: Path) -> None:
    """Open an animation and its first frame.

    Raises:
        PairsError: it cannot be read, or is a picture that does not move.
    """
    with _opened(path) as file:
        count = getattr(file, "n_frames", 1)
        if count < 2:
            raise PairsError(
                f"{path} is a picture, not an animation",
                got=f"{count} frame",
                expected="a GIF, APNG or WebP of at least 2 frames",
                do="use the modality image, or a folder of frames with their fps",
            )
        _opaque(file)


def stream(path: Path) -> Iterator[Frame]:
    """All frames with their times, transparent parts white.

    Raises:
        PairsError: the file is damaged.
    """
    with _opened(path) as file:
        begin = 0.0
        for index in range(getattr(file, "n_frames", 1)):
            file.seek(index)
            picture = _opaque(file)  # its duration is known only when it has been decoded
            seconds = float(file.info.get("duration", 0) or 0) / 1000
            end = begin + (seconds if seconds > SHORTEST else USUAL)
            yield Frame(begin, end, lambda picture=picture: picture)  # type: ignore[misc]  # bound at once
            begin = end


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """An open picture file, whose errors, whenever they come, are ours."""
    try:
        with warnings.catch_warnings():  # Pillow warns of size when it opens a file, and only then
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            file = Image.open(path)
        with file:
            yield file
    except PairsError:
        raise
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        what = f"The animation {path} cannot be read."
        raise PairsError(what, got=error, expected="a whole GIF, APNG or WebP file") from error


def _opaque(file: Image.Image) -> Image.Image:
    white = Image.new("RGBA", file.size, "white")
    white.alpha_composite(file.convert("RGBA"))
    return white.convert("RGB")
