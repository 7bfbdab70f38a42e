"""Encoders without weights: statistics of a sample, brought to one scale by constants that were fitted once."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import numpy as np

CLIP = 3.0
"""Standard deviations at which a statistic is cut, so that one odd sample cannot outweigh everything."""


class Standardised:
    """Statistics of each sample, centred and divided by their deviation, (n, width), float32."""

    def __init__(self, id: str, statistics: Callable[[Any], np.ndarray], constants: Traversable | Path) -> None:
        """
        Args:
            id: of the encoder.
            statistics: the raw numbers (width,) of a sample.
            constants: JSON {"centre": [...], "deviation": [...]}, as `fit` writes it.
        """
        self.id = id
        self._statistics = statistics
        found = json.loads(constants.read_text("utf-8"))
        self._centre, self._deviation = np.array(found["centre"]), np.array(found["deviation"])
        self.width = len(self._centre)

    def encode(self, samples: Sequence[Any]) -> np.ndarray:
        """Embeddings (n, width), float32, of n samples.

        Raises:
            PairsError: a sample cannot be read.
        """
        rows = np.empty((len(samples), self.width), np.float32)
        for row, sample in zip(rows, samples, strict=True):
            row[:] = np.clip((self._statistics(sample) - self._centre) / self._deviation, -CLIP, CLIP)
        return rows


def fit(
    statistics: Callable[[Any], np.ndarray], samples: Sequence[Any], about: str, target: Path, least: float = 1e-2
) -> None:
    """Write the constants of an encoder: means and deviations (at least `least`) of its statistics over samples.

    Fitted once and shipped, because an encoder must not depend on the data it is given. A new file means a new version
    in the encoder's id.
    """
    values = np.stack([statistics(sample) for sample in samples])
    constants = {"centre": values.mean(0), "deviation": np.maximum(values.std(0), least)}
    rounded = {name: [float(f"{number:.6g}") for number in row] for name, row in constants.items()}
    target.write_text(json.dumps({"about": about} | rounded, indent=0) + "\n", "utf-8")
