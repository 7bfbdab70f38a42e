"""The encoder "texture": 217 statistics of colour and texture, without weights."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import numpy as np
from semi_plugin_image.shared import Standardised

from semi_plugin_satellite.pictures import as_pixels

SIDE = 128
WIDTH = 217
HUES, SATURATIONS, VALUES, ORIENTATIONS = 8, 3, 3, 8
CONSTANTS = "texture.json"


def _rotation_classes() -> np.ndarray:
    """The class (0 to 35) of each pattern of 8 bits, the same for all its rotations, (256,)."""
    smallest = [min((code >> turn | code << (8 - turn)) & 255 for turn in range(8)) for code in range(256)]
    classes: np.ndarray = np.unique(smallest, return_inverse=True)[1]
    return classes


PATTERNS = _rotation_classes()
N_PATTERNS = int(PATTERNS.max()) + 1  # 36


class Texture(Standardised):
    """Colours and fine structure of a picture, (n, 217), float32; each statistic centred and divided by its deviation.

    The square of 128 pixels around the picture gives: a joint histogram of hue, saturation and value (72); histograms
    of rotation-invariant local binary patterns at three scales (108; Ojala et al., IEEE TPAMI 24, 971 (2002)); mean,
    deviation and skewness of six indices of colour (18); orientations of edges (8); detail at five scales (5); five
    percentiles of lightness and the share of dark blue (6). Histograms are taken as square roots.
    Constants come from the pictures of the train split of the data set "land-cover"; no caption has a say in them.
    """

    def __init__(self) -> None:
        super().__init__("satellite/texture@1", statistics_of_file, resources.files(__package__).joinpath(CONSTANTS))


def statistics_of_file(path: str | Path) -> np.ndarray:
    """The raw numbers (217,), float64, of a file."""
    return statistics(as_pixels(path, SIDE))


def statistics(pixels: np.ndarray) -> np.ndarray:
    """The raw numbers (217,), float64, of a picture (128, 128, 3), 0 to 1."""
    pixels = pixels.astype(np.float64)
    light = pixels @ (0.299, 0.587, 0.114)  # (128, 128)
    coarser = [light, halved(light), halved(halved(light))]
    return np.concatenate([
        _colours(pixels),
        *(_patterns(scale) for scale in coarser),
        _indices(pixels, light),
        _orientations(light),
        _details(light),
        np.percentile(light, (5, 25, 50, 75, 95)),
        [((pixels[..., 2] > 1.3 * pixels[..., 0]) & (light < 0.35)).mean()],
    ])  # fmt: skip


def halved(light: np.ndarray) -> np.ndarray:
    """Half the resolution, by means of 2 x 2 pixels."""
    half: np.ndarray = light.reshape(light.shape[0] // 2, 2, light.shape[1] // 2, 2).mean((1, 3))
    return half


def _colours(pixels: np.ndarray) -> np.ndarray:
    """Roots of the joint histogram of hue, saturation and value, (72,)."""
    value, low = pixels.max(-1), pixels.min(-1)
    spread = value - low
    red, green, blue = np.moveaxis(pixels, -1, 0)
    safe = np.where(spread > 0, spread, 1.0)
    sector = np.select(
        [value == red, value == green], [(green - blue) / safe % 6, (blue - red) / safe + 2], (red - green) / safe + 4
    )
    hue = np.where(spread > 0, sector / 6, 0.0)
    saturation = spread / np.where(value > 0, value, 1.0)
    cells = np.stack([hue, saturation, value], -1).reshape(-1, 3)
    bins = HUES, SATURATIONS, VALUES
    return np.sqrt(np.histogramdd(cells, bins, [(0, 1)] * 3)[0].ravel() / len(cells))


def _patterns(light: np.ndarray) -> np.ndarray:
    """Roots of the histogram of local binary patterns: which of the 8 neighbours are brighter, (36,)."""
    rows, columns = light.shape
    around = ((0, 0), (0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0))  # clockwise
    inner = light[1:-1, 1:-1]
    codes = np.zeros(inner.shape, np.int64)
    for bit, (down, right) in enumerate(around):
        # A threshold of one grey level: of a flat surface the pattern is empty and not noise.
        codes |= (light[down : rows - 2 + down, right : columns - 2 + right] > inner + 1 / 255).astype(np.int64) << bit
    return np.sqrt(np.bincount(PATTERNS[codes.ravel()], minlength=N_PATTERNS) / codes.size)


def _indices(pixels: np.ndarray, light: np.ndarray) -> np.ndarray:
    """Mean, deviation and skewness of red, green, blue, lightness, green over red and blue over red, (18,)."""
    red, green, blue = np.moveaxis(pixels, -1, 0)
    greenness, blueness = ((band - red) / (band + red + 0.05) for band in (green, blue))
    bands = np.stack([red, green, blue, light, greenness, blueness]).reshape(6, -1)
    mean, deviation = bands.mean(1), bands.std(1)
    skewness = ((bands - mean[:, None]) ** 3).mean(1) / (deviation + 0.01) ** 3
    return np.concatenate([mean, deviation, skewness])


def _orientations(light: np.ndarray) -> np.ndarray:
    """Share of the edges' strength in each of 8 directions, (8,)."""
    down, right = np.gradient(light)
    strength, angle = np.hypot(down, right), np.arctan2(down, right) % np.pi
    sector = np.minimum((angle / np.pi * ORIENTATIONS).astype(int), ORIENTATIONS - 1)
    share: np.ndarray = np.bincount(sector.ravel(), strength.ravel(), ORIENTATIONS) / (strength.sum() + 1e-3)
    return share


def _details(light: np.ndarray) -> np.ndarray:
    """Logarithm of what halving the resolution loses, at 5 scales, (5,)."""
    found = []
    for _ in range(5):
        half = halved(light)
        found.append(np.abs(light - half.repeat(2, 0).repeat(2, 1)).mean())
        light = half
    return np.log(np.array(found) + 1e-3)
