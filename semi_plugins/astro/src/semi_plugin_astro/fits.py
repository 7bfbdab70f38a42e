"""FITS images as pictures (extra `fits`)."""

from __future__ import annotations

import warnings
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from semi.errors import InputError, PairsError

ENDINGS = (".fits", ".fit", ".fts", ".fits.gz", ".fit.gz", ".fts.gz")
MAX_PIXELS = 89_478_485  # Pillow's own limit for pictures
SOFTENING = 0.1
"""Share of the range below which the stretch is linear."""


def is_fits(path: Path) -> bool:
    """Whether the name says FITS."""
    return path.name.lower().endswith(ENDINGS)


def read_fits(path: Path) -> Image.Image:
    """The first image of a FITS file, stretched, north-up files upright (FITS counts rows from below).

    An image is two-dimensional, or three-dimensional with 1 plane (grey) or 3 planes (red, green, blue) first.

    Raises:
        InputError: astropy is not installed.
        PairsError: no such file, damaged, no image in it, or one without contents.
    """
    data = _first_image(path)
    planes = [_stretched(plane, path) for plane in data.reshape(-1, *data.shape[-2:])]  # 1 or 3 of (h, w)
    pixels = np.stack(planes * (3 // len(planes)), axis=-1)[::-1]  # (h, w, 3)
    return Image.fromarray((pixels * 255 + 0.5).astype(np.uint8))


def _first_image(path: Path) -> np.ndarray:
    """(h, w) or (1 or 3, h, w), float64."""
    try:
        fits = import_module("astropy.io.fits")
    except ImportError as error:
        raise InputError(
            f"{path} is a FITS file, and astropy is not installed", do="pip install 'semi-plugin-astro[fits]'"
        ) from error
    if not path.is_file():
        raise PairsError("A FITS file does not exist.", got=path, expected="a FITS file with an image")
    shapes = []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of headers that bend the standard, as many do
            with fits.open(path, memmap=False) as units:
                for unit in units:
                    shape = tuple(getattr(unit, "shape", ()))
                    shapes.append(shape)
                    if unit.is_image and _is_picture(shape):
                        return np.array(unit.data, dtype=np.float64)
    except Exception as error:  # astropy raises whatever a damaged header leads it into
        raise PairsError(f"The FITS file {path} cannot be read.", got=error, expected="a whole FITS file") from error
    raise PairsError(
        f"The FITS file {path} holds no picture.",
        got=f"units of shape {', '.join(map(str, shapes))}",
        expected=f"an image (h, w), (1, h, w) or (3, h, w) of at most {MAX_PIXELS:,} pixels",
        do="write the plane you mean with astropy.io.fits.writeto",
    )


def _is_picture(shape: tuple[Any, ...]) -> bool:
    planes = len(shape) == 2 or (len(shape) == 3 and shape[0] in (1, 3))
    return planes and 0 < shape[-1] * shape[-2] <= MAX_PIXELS


def _stretched(plane: np.ndarray, path: Path) -> np.ndarray:
    """(h, w) to 0..1: the median black, the 99.8th percentile white, asinh between them (Lupton et al., 2004).

    Missing values (NaN, infinity) are black.
    """
    finite = plane[np.isfinite(plane)]
    if not finite.size:
        raise PairsError(f"The FITS file {path} holds no numbers.", got="NaN everywhere", expected="an exposed image")
    black, white = np.percentile(finite, (50, 99.8))
    if white <= black:  # a few sources on a constant sky, or nothing at all
        black, white = finite.min(), finite.max()
    if white <= black:
        return np.zeros_like(plane)
    scaled = np.clip((np.nan_to_num(plane, nan=black, posinf=black, neginf=black) - black) / (white - black), 0, 1)
    stretched: np.ndarray = np.arcsinh(scaled / SOFTENING) / np.arcsinh(1 / SOFTENING)
    return stretched
