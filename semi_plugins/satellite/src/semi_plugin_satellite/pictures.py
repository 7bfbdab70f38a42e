"""Opening, squaring and drawing satellite pictures: picture files and GeoTIFF."""

from __future__ import annotations

import base64
import io
from html import escape
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from semi_plugin_image.pictures import open_picture

from semi_plugin_satellite.geotiff import needs_rasterio, read_geotiff


def open_scene(path: str | Path) -> Image.Image:
    """The picture in RGB: GeoTIFF that is not a plain picture through rasterio, all else as the modality image does.

    Raises:
        PairsError: no such file, or one that cannot be read.
        InputError: such a GeoTIFF, and rasterio is not installed.
    """
    return read_geotiff(Path(path)) if needs_rasterio(Path(path)) else open_picture(path)


def squared(image: Image.Image, side: int) -> Image.Image:
    """The whole picture, undistorted, in a square of `side` pixels; black around it, as where a scene has no data."""
    return ImageOps.pad(image, (side, side), Image.Resampling.BICUBIC, color="black")


def open_squared(path: str | Path, side: int) -> Image.Image:
    """A file as the encoders see it.

    Raises:
        PairsError: it cannot be read.
    """
    return squared(open_scene(path), side)


def as_pixels(path: str | Path, side: int) -> np.ndarray:
    """The squared picture as (side, side, 3), float32, 0 to 1."""
    return np.asarray(open_squared(path, side), np.float32) / 255


def as_html(path: str | Path, side: int = 128) -> str:
    """A self-contained <img> of at most `side` pixels."""
    image = open_scene(path)
    image.thumbnail((side, side))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    data = base64.b64encode(buffer.getvalue()).decode()
    return f'<img alt="{escape(Path(path).name)}" src="data:image/png;base64,{data}">'
