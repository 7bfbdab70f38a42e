"""Opening, squaring and drawing photographs of the sky: picture files and FITS."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from semi_plugin_image import shared

from semi_plugin_astro.fits import is_fits, read_fits


def open_photograph(path: str | Path) -> Image.Image:
    """The photograph in RGB: FITS with an asinh stretch, anything else as the modality image opens it.

    Raises:
        PairsError: no such file, or one that cannot be read.
        InputError: FITS, and astropy is not installed.
    """
    return read_fits(Path(path)) if is_fits(Path(path)) else shared.open_picture(path)


def squared(image: Image.Image, side: int) -> Image.Image:
    """The whole photograph, undistorted, in a square of `side` pixels; black around it, as the sky is."""
    return shared.squared(image, side, around="black")


def open_squared(path: str | Path, side: int) -> Image.Image:
    """A file as the encoders see it.

    Raises:
        PairsError: it cannot be read.
    """
    return squared(open_photograph(path), side)


def as_pixels(path: str | Path, side: int) -> np.ndarray:
    """The squared photograph as (side, side, 3), float32, 0 to 1."""
    return np.asarray(open_squared(path, side), np.float32) / 255
