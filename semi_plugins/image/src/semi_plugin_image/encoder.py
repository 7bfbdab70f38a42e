"""EfficientNet-lite0 up to its last feature map."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from efficientnet_lite_pytorch import EfficientNet  # type: ignore[import-untyped]  # ships no types
from PIL import Image
from semi.artifacts import load_module
from semi.export import Network
from torch import Tensor

from semi_plugin_image.pictures import AsSquare, squared

SIDE = 224
MEAN, DEVIATION = 0.498, 0.502


class EfficientNetLite0:
    """What the network sees before it decides on a class: the mean over 7 x 7 places, or the places themselves.

    Other plugins get it from `semi_plugin_image.shared.efficientnet_lite0`.
    """

    width = 1280

    def __init__(self, weights: Path, id: str, as_square: AsSquare, *, grid: bool = False) -> None:
        self.id = id
        self._as_square = as_square
        self._grid = grid
        self._model = EfficientNet.from_name("efficientnet-lite0")
        load_module(self._model, weights)
        # channels_last halves the time of depthwise convolutions on a CPU (35 -> 16 ms a picture on two cores).
        self._model.train(False).to(memory_format=torch.channels_last)

    def encode(self, samples: Sequence[Any]) -> np.ndarray:
        """Embeddings (n, 1280) or, on the grid, (n, 49, 1280) row by row, float32, of n samples.

        Pictures go through one by one: no slower on a CPU than a batch, and none depends on its neighbours.

        Raises:
            PairsError: a picture cannot be read.
        """
        result = np.empty((len(samples), 49, self.width) if self._grid else (len(samples), self.width), np.float32)
        for row, sample in enumerate(samples):
            features = self._features(preprocess(self._as_square(sample, SIDE)))  # (1280, 7, 7)
            result[row] = features.reshape(self.width, 49).T if self._grid else features.mean((1, 2))
        return result

    def network(self) -> Network:
        """All of it, for pictures that are squared already."""
        module = _FromPixels(self._model, grid=self._grid)
        meaning = f"a picture in RGB, 0 to 255, squared to {SIDE} pixels"
        return Network(
            module, lambda sample: np.array(self._as_square(sample, SIDE)), (SIDE, SIDE, 3), "uint8", meaning
        )

    @torch.inference_mode()
    def _features(self, pixels: np.ndarray) -> np.ndarray:
        batch = torch.from_numpy(pixels)[None].contiguous(memory_format=torch.channels_last)  # (1, 3, 224, 224)
        features: torch.Tensor = self._model.extract_features(batch)[0]
        return features.numpy()


class _FromPixels(torch.nn.Module):
    """A squared picture (224, 224, 3) -> (1280,) or, on the grid, (49, 1280)."""

    def __init__(self, model: torch.nn.Module, *, grid: bool) -> None:
        super().__init__()
        self.model, self.grid = model, grid

    def forward(self, pixels: Tensor) -> Tensor:
        scaled = (pixels.float() / 255 - MEAN) / DEVIATION
        features: Tensor = self.model.extract_features(scaled.permute(2, 0, 1)[None])[0]  # type: ignore[operator]
        return features.flatten(1).T if self.grid else features.mean((1, 2))


def preprocess(image: Image.Image) -> np.ndarray:
    """A picture in RGB as the network wants it: (3, 224, 224), float32, (RGB / 255 - 0.498) / 0.502."""
    pixels = np.asarray(squared(image, SIDE), dtype=np.float32)  # (224, 224, 3)
    return np.ascontiguousarray(((pixels / 255 - MEAN) / DEVIATION).transpose(2, 0, 1))
