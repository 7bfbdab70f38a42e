"""The encoder "layout": 448 statistics of where which colours and edges are, and of the outline; no weights."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import numpy as np

from semi_plugin_image.constants import Standardised
from semi_plugin_image.pictures import open_squared

SIDE, CELL, GRID = 96, 16, 6
ORIENTATIONS, SHADES, SECTORS = 8, 3, 12
CONSTANTS = "layout.json"
STANDS_OUT = 0.12
"""Distance from the colour of the border, of at most 1.7, from which on a pixel belongs to what is shown."""


def layout() -> Standardised:
    """The encoder, (n, 448), float32.

    The square of 96 pixels around the picture gives: mean red, green and blue in 6 x 6 cells (108); how strong edges of
    8 directions are in each of them (288; after Dalal and Triggs, CVPR 2005); a joint histogram of colours (27); and of
    the outline against the border's colour (25) area, middle, width and height, how much of these is filled, Hu's seven
    moments (IRE Trans. Inf. Theory 8, 179 (1962)) and how far it reaches in 12 directions.
    Constants come from the pictures of the train splits of "emoji" and "tuxpaint"; no caption has a say in them.
    """
    constants = resources.files(__package__).joinpath(CONSTANTS)
    return Standardised("image/layout@1", statistics_of_file, constants)


def statistics_of_file(path: str | Path) -> np.ndarray:
    """The raw numbers (448,), float64, of a picture file."""
    return statistics(np.asarray(open_squared(path, SIDE), np.float64) / 255)


def statistics(pixels: np.ndarray) -> np.ndarray:
    """The raw numbers (448,), float64, of a picture (96, 96, 3), 0 to 1."""
    cells = pixels.reshape(GRID, CELL, GRID, CELL, 3).mean((1, 3))  # (6, 6, 3)
    return np.concatenate([cells.ravel(), _edges(pixels), _colours(pixels), _outline(pixels)])


def _edges(pixels: np.ndarray) -> np.ndarray:
    """Roots of the strength of edges in 6 x 6 cells by direction, relative to the whole picture, (288,)."""
    down, right = np.gradient(pixels @ (0.299, 0.587, 0.114))
    strength, angle = np.hypot(down, right), np.arctan2(down, right) % np.pi
    sector = np.minimum((angle / np.pi * ORIENTATIONS).astype(int), ORIENTATIONS - 1)
    rows, columns = np.indices(strength.shape) // CELL
    place = (rows * GRID + columns) * ORIENTATIONS + sector
    found = np.bincount(place.ravel(), strength.ravel(), GRID * GRID * ORIENTATIONS)
    # Of a picture without edges nothing is left but noise of the decoder: 1 grey level a pixel weighs as much as that.
    roots: np.ndarray = np.sqrt(found / (found.sum() + strength.size / 255))
    return roots


def _colours(pixels: np.ndarray) -> np.ndarray:
    """Roots of the joint histogram of red, green and blue in 3 shades each, (27,)."""
    red, green, blue = np.moveaxis(np.minimum((pixels * SHADES).astype(int), SHADES - 1), -1, 0)
    code = (red * SHADES + green) * SHADES + blue
    roots: np.ndarray = np.sqrt(np.bincount(code.ravel(), minlength=SHADES**3) / code.size)
    return roots


def _outline(pixels: np.ndarray) -> np.ndarray:
    """Of what stands out from the border: area, middle, extent, filling, Hu's moments and reach, (25,)."""
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    shown = np.linalg.norm(pixels - np.median(border, axis=0), axis=2) > STANDS_OUT
    found = np.zeros(13 + SECTORS)
    if not shown.any():
        return found
    rows, columns = (places / SIDE for places in np.nonzero(shown))
    height, width = np.ptp(rows) + 1 / SIDE, np.ptp(columns) + 1 / SIDE
    down, right = rows - rows.mean(), columns - columns.mean()
    sector = np.minimum(((np.arctan2(down, right) / np.pi + 1) / 2 * SECTORS).astype(int), SECTORS - 1)
    reach = np.zeros(SECTORS)
    np.maximum.at(reach, sector, np.hypot(down, right))
    area = shown.mean()
    found[:6] = area, rows.mean(), columns.mean(), height, width, area / (height * width)
    found[6:13] = hu_moments(down, right)
    found[13:] = reach
    return found


def hu_moments(down: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Hu's seven moments of points around their middle, as signed cube roots to bring them to one scale, (7,)."""

    def eta(p: int, q: int) -> float:
        return float((right**p * down**q).sum() / down.size ** (1 + (p + q) / 2) * SIDE ** (p + q))

    n20, n02, n11, n30, n03, n21, n12 = (eta(*o) for o in ((2, 0), (0, 2), (1, 1), (3, 0), (0, 3), (2, 1), (1, 2)))
    a, b, c, d = n30 + n12, n21 + n03, n30 - 3 * n12, 3 * n21 - n03
    return np.cbrt([
        n20 + n02,
        (n20 - n02) ** 2 + 4 * n11**2,
        c**2 + d**2,
        a**2 + b**2,
        c * a * (a**2 - 3 * b**2) + d * b * (3 * a**2 - b**2),
        (n20 - n02) * (a**2 - b**2) + 4 * n11 * a * b,
        d * a * (a**2 - 3 * b**2) - c * b * (3 * a**2 - b**2),
    ])  # fmt: skip
