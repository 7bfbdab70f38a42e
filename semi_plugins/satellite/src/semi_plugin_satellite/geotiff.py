"""GeoTIFF with more than 8 bits or other bands than a picture has (extra `geotiff`)."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError
from semi.errors import InputError, PairsError

ENDINGS = (".tif", ".tiff")
PLAIN = {"1", "L", "LA", "P", "RGB", "RGBA"}
"""Pillow's modes of pictures with at most 8 bits a band."""
MAX_SIDE = 2048
"""Larger scenes are read at a lower resolution."""
NAMES = (
    ("red", "green", "blue"),
    ("b04", "b03", "b02"),  # Sentinel-2
    ("b4", "b3", "b2"),  # Sentinel-2 and Landsat 8 and 9, as many tools write them
    ("sr_b4", "sr_b3", "sr_b2"),  # Landsat 8 and 9, Collection 2
)
"""What descriptions of bands call red, green and blue."""


def needs_rasterio(path: Path) -> bool:
    """Whether this is a TIFF that Pillow cannot open as the picture it is meant to be."""
    if path.suffix.lower() not in ENDINGS or not path.is_file():
        return False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of size: open_picture or rasterio judges it
            with Image.open(path) as file:
                return file.mode not in PLAIN
    except (UnidentifiedImageError, Image.DecompressionBombError):
        return True
    except OSError:
        return False


def read_geotiff(path: Path) -> Image.Image:
    """Red, green and blue of a GeoTIFF, or its only band in grey, as 8 bits.

    Red, green and blue are the bands that the file's colour interpretation or the descriptions of its bands call so;
    three bands without either are taken in this order. 8 bits stay as they are; other numbers are stretched from the
    2nd to the 98th percentile of the bands together, so that colours keep their balance. No data is black.

    Raises:
        InputError: rasterio is not installed.
        PairsError: damaged, no GeoTIFF, or nothing says which bands are red, green and blue.
    """
    try:
        rasterio = import_module("rasterio")
    except ImportError as error:
        raise InputError(
            f"{path} is a GeoTIFF with other bands than a picture has, and rasterio is not installed",
            do="pip install 'semi-plugin-satellite[geotiff]'",
        ) from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it is not georeferenced, for instance: its place is not used
            with rasterio.open(path, driver="GTiff") as scene:
                bands = _visible(scene, path)
                shrink = max(1.0, max(scene.height, scene.width) / MAX_SIDE)
                shape = len(bands), max(1, round(scene.height / shrink)), max(1, round(scene.width / shrink))
                # GDAL's masks also tell where the file's own nodata value stands
                data = scene.read(bands, out_shape=shape)
                mask = scene.read_masks(bands, out_shape=shape) > 0
    except rasterio.errors.RasterioError as error:
        raise PairsError(f"The GeoTIFF {path} cannot be read.", got=error, expected="a whole GeoTIFF") from error
    pixels = _as_bytes(data, mask, path)  # (1 or 3, h, w)
    return Image.fromarray(np.ascontiguousarray(np.broadcast_to(pixels, (3, *shape[1:])).transpose(1, 2, 0)))


def _visible(scene: Any, path: Path) -> list[int]:
    """Numbers (from 1) of the red, green and blue band, or of the only one."""
    colours = [colour.name for colour in scene.colorinterp]
    described = [(text or "").strip().lower() for text in scene.descriptions]
    for names, found in ((NAMES[0], colours), *((names, described) for names in NAMES)):
        if all(name in found for name in names):
            return [found.index(name) + 1 for name in names]
    if scene.count in (1, 3):
        return list(range(1, scene.count + 1))
    raise PairsError(
        f"Nothing in the GeoTIFF {path} says which of its bands are red, green and blue.",
        got=f"{scene.count} bands: {_listed(described)}",
        expected="1 or 3 bands, a colour interpretation, or bands described as red, green, blue or B04, B03, B02",
        do="choose them: rio stack scene.tif --bidx 4,3,2 -o rgb.tif",
    )


def _listed(described: Sequence[str]) -> str:
    return ", ".join(text or "no description" for text in described)


def _as_bytes(data: np.ndarray, mask: np.ndarray, path: Path) -> np.ndarray:
    """uint8 of the same shape; what the mask leaves out is 0."""
    valid = mask & np.isfinite(data) if data.dtype.kind == "f" else mask
    if data.dtype == np.uint8:
        return np.where(valid, data, np.uint8(0))
    if data.dtype.kind not in "iuf" or not valid.any():
        got = f"{data.dtype}, {valid.sum()} valid numbers"
        raise PairsError(f"The GeoTIFF {path} holds no picture.", got=got, expected="integers or floats, some valid")
    dark, light = np.percentile(data[valid].astype(np.float64), (2, 98))
    if light <= dark:
        light = dark + 1
    scaled = np.clip((np.where(valid, data, dark).astype(np.float64) - dark) / (light - dark), 0, 1)
    return np.where(valid, scaled * 255 + 0.5, 0).astype(np.uint8)
