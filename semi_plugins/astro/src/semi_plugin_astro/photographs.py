"""Opening, squaring and drawing photographs of the sky: picture files and FITS."""

from __future__ import annotations

import base64
import io
from html import escape
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from semi_plugin_image.pictures import open_picture

from semi_plugin_astro.fits import is_fits, read_fits


def open_photograph(path: str | Path) -> Image.Image:
    """The photograph in RGB: FITS with an asinh stretch, anything else as the modality image opens it.

    Raises:
        PairsError: no such file, or one that cannot be read.
        InputError: FITS, and astropy is not installed.
    """
    return read_fits(Path(path)) if is_fits(Path(path)) else open_picture(path)


def squared(image: Image.Image, side: int) -> Image.Image:
    """The whole photograph, undistorted, in a square of `side` pixels; black around it, as the sky is."""
    return ImageOps.pad(image, (side, side), Image.Resampling.BICUBIC, color="black")


def open_squared(path: str | Path, side: int) -> Image.Image:
    """A file as the encoders see it.

    Raises:
        PairsError: it cannot be read.
    """
    return squared(open_photograph(path), side)


def as_pixels(path: str | Path, side: int) -> np.ndarray:
    """The squared photograph as (side, side, 3), float32, 0 to 1."""
    return np.asarray(open_squared(path, side), np.float32) / 255


def as_html(path: str | Path, side: int = 128) -> str:
    """A self-contained <img> of at most `side` pixels."""
    image = open_photograph(path)
    image.thumbnail((side, side))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    data = base64.b64encode(buffer.getvalue()).decode()
    return f'<img alt="{escape(Path(path).name)}" src="data:image/png;base64,{data}">'
