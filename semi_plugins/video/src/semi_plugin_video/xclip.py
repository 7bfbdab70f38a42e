"""The encoder "xclip": X-CLIP from a folder or a hub (extra `hub`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from semi_plugin_image.shared import load_pretrained
from transformers import XCLIPConfig, XCLIPModel

from semi_plugin_video.sources.reading import shown

MEAN = np.array((0.485, 0.456, 0.406), np.float32)  # of ImageNet, as X-CLIP's preprocessor has them
STD = np.array((0.229, 0.224, 0.225), np.float32)


class XClip:
    """X-CLIP's embedding of a clip, projected and not normalised (Ni et al., ECCV 2022)."""

    def __init__(self, model: XCLIPModel, fingerprint: str) -> None:
        self.id = f"video/xclip-{fingerprint}@1"
        self.width = int(model.config.projection_dim)
        vision: Any = model.config.vision_config
        self._frames, self._side = int(vision.num_frames), int(vision.image_size)
        self._model = model.train(False).requires_grad_(False)

    @torch.inference_mode()
    def encode(self, samples: Sequence[Any]) -> np.ndarray:
        """Embeddings (n, projection width), float32, of n clips; one by one, so none depends on the batch.

        Raises:
            PairsError: a clip cannot be read.
        """
        rows = np.empty((len(samples), self.width), np.float32)
        for row, sample in zip(rows, samples, strict=True):
            frames, _ = shown(sample, self._frames, self._side)
            pixels = (np.stack([np.asarray(frame, np.float32) for frame in frames]) / 255 - MEAN) / STD
            batch = torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)))[None]  # (1, t, 3, side, side)
            row[:] = self._model.get_video_features(pixel_values=batch).pooler_output[0].numpy()
        return rows


def load_xclip(source: str) -> XClip:
    """The X-CLIP of a folder or of a hub id.

    Raises:
        InputError: the hub has no such model or cannot be reached.
        ArtifactError: the folder lacks a file, or its tensors are not those of X-CLIP.
    """
    return XClip(*load_pretrained(source, "an X-CLIP model", "give a folder: --encoder xclip:FOLDER", _untrained))


def _untrained(config: Path) -> XCLIPModel:
    return XCLIPModel(XCLIPConfig.from_pretrained(config))
