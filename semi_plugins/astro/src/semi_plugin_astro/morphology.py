"""The encoder "morphology": 96 statistics of light, shape and colour, without weights."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import numpy as np
from semi_plugin_image.shared import Standardised

from semi_plugin_astro.photographs import as_pixels

SIDE = 128
RINGS, MODES, BINS, SCALES = 16, 4, 16, 5
WIDTH = 96
CONSTANTS = "morphology.json"


class Morphology(Standardised):
    """How light is spread over a photograph, (n, 96), float32; each statistic centred and divided by its deviation.

    The square of 128 pixels around the photograph gives: mean and deviation of light in 16 rings (32); strength of
    1 to 4 arms or lobes in 4 zones (16); a histogram of light (16); mean, deviation and 95th percentile of detail at
    5 scales (15); red and green against blue in three zones, with their deviations (8); and nine measures of shape:
    concentration and asymmetry (Conselice, ApJS 147, 1 (2003)), Gini and M20 (Lotz et al., AJ 128, 163 (2004)),
    ellipticity, extent, distance of the centroid from the middle, point sources, saturated area.
    Constants come from the photographs of the train split of the data set "deep-sky"; no caption has a say in them.
    """

    def __init__(self) -> None:
        super().__init__("astro/morphology@1", statistics_of_file, resources.files(__package__).joinpath(CONSTANTS))


def statistics_of_file(path: str | Path) -> np.ndarray:
    """The raw numbers (96,), float64, of a file."""
    return statistics(as_pixels(path, SIDE))


def statistics(pixels: np.ndarray) -> np.ndarray:
    """The raw numbers (96,), float64, of a photograph (128, 128, 3), 0 to 1."""
    pixels = pixels.astype(np.float64)
    light = pixels @ (0.299, 0.587, 0.114)  # (128, 128)
    sky = float(np.percentile(light, 20))
    flux = np.clip(light - sky, 0, None)
    total = flux.sum() + 1e-9
    rows, columns = np.mgrid[:SIDE, :SIDE] + 0.5
    centre = (flux * rows).sum() / total, (flux * columns).sum() / total
    if flux.max() == 0:
        centre = SIDE / 2, SIDE / 2
    down, right = rows - centre[0], columns - centre[1]
    radius, angle = np.hypot(down, right), np.arctan2(down, right)
    return np.concatenate([
        _rings(light, radius),
        _arms(flux, radius, angle),
        np.sqrt(np.histogram(light, BINS, (0, 1))[0] / light.size),
        _details(light),
        _colours(pixels, radius),
        _shape(light, flux, down, right, radius, centre),
    ])  # fmt: skip


def _rings(light: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """Mean and deviation of light in rings of 4 pixels around the centroid, (32,)."""
    ring = np.minimum(radius // (SIDE / 2 / RINGS), RINGS - 1).astype(int).ravel()
    count = np.maximum(np.bincount(ring, minlength=RINGS), 1)
    mean = np.bincount(ring, light.ravel(), RINGS) / count
    square = np.bincount(ring, light.ravel() ** 2, RINGS) / count
    return np.concatenate([mean, np.sqrt(np.clip(square - mean**2, 0, None))])


def _arms(flux: np.ndarray, radius: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """Fourier amplitudes over the angle, m = 1 to 4, in four zones relative to their light, (16,)."""
    zone = np.minimum(radius // (SIDE / 8), 3).astype(int).ravel()
    light = np.bincount(zone, flux.ravel(), 4) + 1e-3
    amplitudes = []
    for mode in range(1, MODES + 1):
        wave = flux.ravel() * np.exp(1j * mode * angle.ravel())
        amplitudes.append(np.hypot(np.bincount(zone, wave.real, 4), np.bincount(zone, wave.imag, 4)) / light)
    return np.concatenate(amplitudes)


def _details(light: np.ndarray) -> np.ndarray:
    """Mean, deviation and 95th percentile of what halving the resolution loses, at 5 scales, (15,)."""
    found = []
    for _ in range(SCALES):
        half = light.reshape(light.shape[0] // 2, 2, light.shape[1] // 2, 2).mean((1, 3))
        lost = np.abs(light - half.repeat(2, 0).repeat(2, 1))
        found += [lost.mean(), lost.std(), np.percentile(lost, 95)]
        light = half
    return np.log(np.array(found) + 1e-3)


def _colours(pixels: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """Red - blue and green - blue relative to the light in three zones, and their deviations overall, (8,)."""
    excess = (pixels[..., :2] - pixels[..., 2:]) / (pixels.mean(-1, keepdims=True) + 0.05)  # (128, 128, 2)
    zones = (radius < SIDE / 8, (radius >= SIDE / 8) & (radius < SIDE / 4), radius >= SIDE / 4)
    return np.concatenate([*(excess[zone].mean(0) for zone in zones), excess.std((0, 1))])


def _shape(
    light: np.ndarray,
    flux: np.ndarray,
    down: np.ndarray,
    right: np.ndarray,
    radius: np.ndarray,
    centre: tuple[float, float],
) -> np.ndarray:
    """Concentration, asymmetry, Gini, M20, ellipticity, extent, off-centre, point sources, saturated, (9,)."""
    total = flux.sum() + 1e-9
    order = np.argsort(radius, axis=None)
    inside = np.cumsum(flux.ravel()[order]) / total
    reached = np.searchsorted(inside, (0.2, 0.5, 0.8)).clip(max=order.size - 1)
    r20, r50, r80 = radius.ravel()[order][reached]
    turned = flux[::-1, ::-1]
    asymmetry = np.abs(flux - turned).sum() / (2 * total)
    values = np.sort(flux, axis=None)
    rank = np.arange(1, values.size + 1)
    gini = ((2 * rank - values.size - 1) * values).sum() / (values.size * total)
    moment = flux * radius**2
    brightest = np.argsort(-flux, axis=None)
    top = brightest[: np.searchsorted(np.cumsum(flux.ravel()[brightest]), 0.2 * total) + 1]
    m20 = np.log10((moment.ravel()[top].sum() + 1e-9) / (moment.sum() + 1e-9))
    weight = flux**2  # so that a wide noisy sky does not make everything round
    xx, yy, xy = ((weight * a * b).sum() for a, b in ((right, right), (down, down), (right, down)))
    ellipticity = np.hypot(xx - yy, 2 * xy) / (xx + yy + 1e-9)
    off = np.hypot(centre[0] - SIDE / 2, centre[1] - SIDE / 2) / SIDE
    inner = light[1:-1, 1:-1]
    neighbours = [light[1 + i : SIDE - 1 + i, 1 + j : SIDE - 1 + j] for i in (-1, 0, 1) for j in (-1, 0, 1) if i or j]
    peaks = ((inner > np.max(neighbours, axis=0)) & (inner > np.mean(neighbours, axis=0) + 0.05)).sum()
    return np.array([
        np.log((r80 + 1) / (r20 + 1)), asymmetry, gini, m20, ellipticity, r50 / SIDE, off, np.log1p(peaks),
        (light > 0.95).mean(),
    ])  # fmt: skip
