"""The encoder "efficientnet-lite0": the network of semi-plugin-image on photographs of the sky."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from semi.modality import Encoder

from semi_plugin_astro.photographs import open_photograph, squared

SIDE = 224


class SkyNetwork:
    """EfficientNet-lite0, which sees FITS too, and black instead of white beside a photograph that is not square."""

    id = "astro/efficientnet-lite0@1"

    def __init__(self, network: Encoder) -> None:
        self._network = network
        self.width = network.width

    def encode(self, samples: Sequence[Any]) -> np.ndarray:
        """Embeddings (n, 1280), float32, of n files.

        Raises:
            PairsError: a file cannot be read.
        """
        rows = np.empty((len(samples), self.width), np.float32)
        for row, sample in zip(rows, samples, strict=True):
            square = io.BytesIO()  # a square of the network's own size passes its preprocessing unchanged
            squared(open_photograph(sample), SIDE).save(square, "BMP")
            row[:] = self._network.encode([square])[0]
        return rows
