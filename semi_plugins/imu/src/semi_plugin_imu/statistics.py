"""The encoder "statistics": moments and spectral bands, no weights."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from semi.errors import InputError

from semi_plugin_imu.recording import MEASURED
from semi_plugin_imu.sources.reading import read_sample
from semi_plugin_imu.units import STANDARD_GRAVITY

if TYPE_CHECKING:
    from semi.export import Network

RATE = 50.0
BANDS = (0.1, 0.75, 1.5, 3.0, 6.0, 25.0)
"""Hz, edges of five bands; the last is half the rate."""
FLOOR = 1e-4
"""Added to the variance in a band before its logarithm: (0.01 g)^2, about the noise of a sensor at rest."""
SCALES = {"acceleration": 1 / STANDARD_GRAVITY, "gyroscope": 0.5}
"""To g and to units of 2 rad/s: then both are of the order of 1 in human motion."""
CHANNELS, FEATURES = 8, 12


class Statistics:
    """96 numbers: 12 features of 8 channels (x, y, z and length of the acceleration, then of the angular velocity).

    Features: mean, standard deviation, minimum, maximum, median, distance of the quartiles, root mean square of the
    change from step to step, and for five frequency bands half the decimal logarithm of the variance in them. Those of
    an absent quantity are 0.
    """

    id = "imu/statistics@1"
    width = CHANNELS * FEATURES

    def encode(self, samples: Sequence[Any]) -> np.ndarray:
        """Embeddings (n, 96), float32, of n windows, each brought to 50 Hz.

        Raises:
            PairsError: a sample is not one.
        """
        rows = np.zeros((len(samples), len(SCALES), self.width // len(SCALES)), np.float32)
        for row, sample in zip(rows, samples, strict=True):
            measured = read_sample(sample).at(RATE).present
            for block, (name, scale) in zip(row, SCALES.items(), strict=True):
                if name in measured:
                    block[:] = features(measured[name].astype(np.float64) * scale)
        return rows.reshape(len(samples), self.width)

    def network(self) -> Network:
        """All of it, for measurements of both quantities at 50 Hz."""
        from semi.export import Network

        from semi_plugin_imu.statistics_network import StatisticsNetwork

        meaning = f"{MEASURED}, evenly at {RATE:g} Hz"
        return Network(StatisticsNetwork(), _measured, ("T", 6), "float32", meaning)


def _measured(sample: Any) -> np.ndarray:
    """(T, 6): where a quantity is absent its features are 0, which no numbers in its place would lead to."""
    recording = read_sample(sample).at(RATE)
    if len(recording.present) < len(SCALES):
        raise InputError(
            "the network of imu/statistics needs acceleration and angular velocity",
            got=f"{' and '.join(recording.present)} only",
            do="export what comes after it: --from embedding",
        )
    return np.concatenate([recording.present[name] for name in SCALES], axis=1).astype(np.float32)


def features(vectors: np.ndarray) -> np.ndarray:
    """The 48 numbers of vectors (T, 3) at 50 Hz, channel by channel."""
    x = np.column_stack((vectors, np.linalg.norm(vectors, axis=1)))  # (T, 4)
    quartiles = np.quantile(x, (0.25, 0.5, 0.75), axis=0)
    change = np.sqrt((np.diff(x, axis=0) ** 2).mean(0))
    moments = np.stack((x.mean(0), x.std(0), x.min(0), x.max(0), quartiles[1], quartiles[2] - quartiles[0], change))
    by_feature: np.ndarray = np.concatenate((moments, 0.5 * np.log10(FLOOR + variance_in_bands(x))))  # (12, 4)
    return by_feature.T.reshape(-1)


def variance_in_bands(x: np.ndarray) -> np.ndarray:
    """The variance (5, k) of channels (T, k) that lies in each of the bands (Hann window)."""
    window = np.hanning(len(x) + 2)[1:-1, None]
    spectrum = np.abs(np.fft.rfft((x - x.mean(0)) * window, axis=0)) ** 2
    power = 2 * spectrum / (len(x) * (window**2).sum())  # sums to the variance
    frequencies = np.fft.rfftfreq(len(x), 1 / RATE)
    inside = [(frequencies > low) & (frequencies <= high) for low, high in pairwise(BANDS)]
    return np.stack([power[band].sum(0) for band in inside])
