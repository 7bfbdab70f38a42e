"""The encoder "efficientnet-lite0": the network of semi-plugin-image on eight frames."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image
from semi_plugin_image.shared import efficientnet_lite0

from semi_plugin_video.sources.reading import shown

FRAMES, SIDE = 8, 224


class FrameNetwork:
    """What is seen, and how much of it changes: mean of the frames' features, and mean absolute change between them."""

    id = "video/efficientnet-lite0@1"

    def __init__(self) -> None:
        self._network = efficientnet_lite0(self.id, _as_it_is)
        self.width = 2 * self._network.width

    def encode(self, samples: Sequence[Any]) -> np.ndarray:
        """Embeddings (n, 2560), float32, of n clips.

        Raises:
            PairsError: a clip cannot be read.
        """
        rows = np.empty((len(samples), self.width), np.float32)
        for row, sample in zip(rows, samples, strict=True):
            frames, _ = shown(sample, FRAMES, SIDE)
            features = self._network.encode(frames)  # (8, 1280)
            row[:] = np.concatenate([features.mean(0), np.abs(np.diff(features, axis=0)).mean(0)])
        return rows


def _as_it_is(frame: Image.Image, side: int) -> Image.Image:
    return frame
