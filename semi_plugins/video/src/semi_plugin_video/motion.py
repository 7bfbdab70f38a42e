"""The encoder "motion": 300 statistics of what is seen where, of what changes, and of how it moves; no weights."""

from __future__ import annotations

from importlib import resources
from itertools import pairwise

import numpy as np
from PIL import Image
from semi_plugin_image.shared import Standardised

from semi_plugin_video.correlation import shift, turn_and_zoom
from semi_plugin_video.sources.reading import Sample, shown

FRAMES, SIDE = 12, 64
LAGS = (1, 2, 4, 8)
SECTORS = 8
CONSTANTS = "motion.json"
STANDS_OUT = 0.12
"""Distance from the colour of the border, of at most 1.7, from which on a pixel belongs to what is shown."""


def motion() -> Standardised:
    """The encoder, (n, 300), float32.

    Twelve frames of 64 pixels give: mean colours in 4 x 4 places (48); edges in 3 x 3 places, of the mean frame and of
    its deviation over time (18); how much lightness varies in 6 x 6 places (36); change after 1, 2, 4 and 8 steps, of 1
    and 4 also in 4 x 4 places (36); lightness and change over time (23); middle, area and spread of what stands out
    from the border, over time (48); shifts by phase correlation (Kuglin and Hines, 1975), step by step and in eight
    directions (45); turning and zooming by the same in log-polar spectra (Reddy and Chatterji, IEEE TIP 5, 1266 (1996);
    12); strength of 1 to 6 cycles a clip, of all and in 2 x 2 places (30); and length, speed, moving area and how near
    the end is to the beginning (4).
    Constants come from the clips of the train splits of "moving-pictures" and "sprites"; no caption has a say in them.
    """
    return Standardised("video/motion@1", statistics_of_clip, resources.files(__package__).joinpath(CONSTANTS))


def statistics_of_clip(sample: Sample) -> np.ndarray:
    """The raw numbers (300,), float64, of a parsed sample."""
    frames, seconds = shown(sample, FRAMES, SIDE)
    return statistics(frames, seconds)


def statistics(frames: list[Image.Image], seconds: float) -> np.ndarray:
    """The raw numbers (300,), float64, of 12 frames of 64 x 64 pixels in RGB that last so long together."""
    pixels = np.stack([np.asarray(frame, np.float64) for frame in frames]) / 255  # (12, 64, 64, 3)
    light = pixels @ (0.299, 0.587, 0.114)  # (12, 64, 64)
    change = np.abs(np.diff(light, axis=0))  # (11, 64, 64)
    deviation = light.std(0)
    return np.concatenate([
        blocks(pixels.mean(0), 4).ravel(),
        _edges(light.mean(0)), _edges(deviation),
        blocks(deviation, 6).ravel(),
        _changes(light),
        light.mean((1, 2)) - light.mean(), change.mean((1, 2)),
        _outline(pixels).ravel(),
        _shifts(light),
        _turns(light),
        _cycles(light),
        [
            np.log(seconds), np.log(change.mean() * (FRAMES - 1) / seconds + 1e-3), (deviation > 0.05).mean(),
            np.abs(light[-1] - light[0]).mean() / (change.mean() + 0.01),
        ],
    ])  # fmt: skip


def blocks(image: np.ndarray, n: int) -> np.ndarray:
    """Means of an image (..., 64, 64) or (64, 64, 3) in n x n places, (..., n, n) or (n, n, 3)."""
    edges = np.linspace(0, SIDE, n + 1).astype(int)[:-1]
    first = image.ndim - 2 if image.shape[-1] == SIDE else 0
    counts = np.diff([*edges, SIDE])
    summed = np.add.reduceat(np.add.reduceat(image, edges, axis=first), edges, axis=first + 1)
    area = np.multiply.outer(counts, counts)
    means: np.ndarray = summed / (area if first else area.reshape(n, n, *[1] * (image.ndim - 2)))
    return means


def _edges(light: np.ndarray) -> np.ndarray:
    """Strength of edges in 3 x 3 places, (9,)."""
    down, right = np.gradient(light)
    return blocks(np.hypot(down, right), 3).ravel()


def _changes(light: np.ndarray) -> np.ndarray:
    """Roots of the change after 1, 2, 4, 8 steps, and in 4 x 4 places after 1 and 4, (36,)."""
    found = [np.abs(light[lag:] - light[:-lag]).mean(0) for lag in LAGS]  # 4 x (64, 64)
    places = [blocks(change, 4).ravel() for change in (found[0], found[2])]
    roots: np.ndarray = np.sqrt(np.concatenate([[change.mean() for change in found], *places]))
    return roots


def _outline(pixels: np.ndarray) -> np.ndarray:
    """Row and column of the middle, root of the area and spread of what stands out from the border, (4, 12)."""
    border = np.concatenate([pixels[:, 0], pixels[:, -1], pixels[:, :, 0], pixels[:, :, -1]], axis=1)  # (12, 256, 3)
    background = np.median(border.reshape(-1, 3), axis=0)
    found = np.zeros((4, len(pixels)))
    for time, far in enumerate(np.linalg.norm(pixels - background, axis=3) > STANDS_OUT):
        if far.any():
            rows, columns = np.nonzero(far)
            spread = np.hypot(rows.std(), columns.std()) / SIDE
            found[:, time] = rows.mean() / SIDE - 0.5, columns.mean() / SIDE - 0.5, np.sqrt(far.mean()), spread
    return found


def _shifts(light: np.ndarray) -> np.ndarray:
    """Shifts step by step with their strength (34), and over four steps (11)."""
    down, right, peak = np.array([shift(a, b) for a, b in pairwise(light)]).T  # each (11,)
    lengths = np.hypot(down, right)
    far = np.array([shift(a, b)[:2] for a, b in zip(light, light[4:], strict=False)]).T  # (2, 8)
    return np.concatenate([
        down, right, [lengths.mean(), lengths.std()], _directions(down, right), [peak.mean(), peak.min()],
        far.mean(1), [np.hypot(*far).mean()], _directions(*far),
    ])  # fmt: skip


def _directions(down: np.ndarray, right: np.ndarray) -> np.ndarray:
    """How far it goes in each of eight directions, the first to the right, (8,)."""
    sector = np.rint(np.arctan2(down, right) / (2 * np.pi) * SECTORS).astype(int) % SECTORS
    return np.bincount(sector, np.hypot(down, right), SECTORS) / len(down)


def _turns(light: np.ndarray) -> np.ndarray:
    """Mean, mean length and deviation of turning and zooming over one step and over three, (12,)."""
    found = []
    for lag in (1, 3):
        steps = np.array([turn_and_zoom(a, b) for a, b in zip(light, light[lag:], strict=False)])  # (12 - lag, 2)
        found += [steps.mean(0), np.abs(steps).mean(0), steps.std(0)]
    return np.concatenate(found)


def _cycles(light: np.ndarray) -> np.ndarray:
    """Roots of the strength of 1 to 6 cycles a clip, of all and in 2 x 2 places, (30,)."""
    spectrum = np.abs(np.fft.rfft(blocks(light, 8), axis=0))[1:] / len(light)  # (6, 8, 8)
    places = spectrum.reshape(6, 2, 4, 2, 4).mean((2, 4))  # (6, 2, 2)
    roots: np.ndarray = np.sqrt(np.concatenate([spectrum.mean((1, 2)), places.ravel()]))
    return roots
