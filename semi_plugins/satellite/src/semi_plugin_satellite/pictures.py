"""Opening, squaring and drawing satellite pictures: picture files and GeoTIFF."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from semi_plugin_image import shared

from semi_plugin_satellite.geotiff import needs_rasterio, read_geotiff


def open_scene(path: str | Path) -> Image.Image:
    """The picture in RGB: GeoTIFF that is not a plain picture through rasterio, all else as the modality image does.

    Raises:
        PairsError: no such file, or one that cannot be read.
        InputError: such a GeoTIFF, and rasterio is not installed.
    """
    return read_geotiff(Path(path)) if needs_rasterio(Path(path)) else shared.open_picture(path)


def squared(image: Image.Image, side: int) -> Image.Image:
    """The whole picture, undistorted, in a square of `side` pixels; black around it, as where a scene has no data."""
    return shared.squared(image, side, around="black")


def open_squared(path: str | Path, side: int) -> Image.Image:
    """A file as the encoders see it.

    Raises:
        PairsError: it cannot be read.
    """
    return squared(open_scene(path), side)


def as_pixels(path: str | Path, side: int) -> np.ndarray:
    """The squared picture as (side, side, 3), float32, 0 to 1."""
    return np.asarray(open_squared(path, side), np.float32) / 255
