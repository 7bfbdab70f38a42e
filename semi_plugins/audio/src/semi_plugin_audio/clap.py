"""The encoder "clap": the audio tower of CLAP from the Hugging Face hub, or from a folder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from semi.errors import InputError
from semi_plugin_speech.hub import digest, filled, found
from semi_plugin_speech.reading import read_sample
from transformers import ClapAudioConfig, ClapAudioModelWithProjection, ClapFeatureExtractor

HUB = "laion/clap-htsat-unfused"


class Clap:
    """CLAP's audio embedding (Wu et al., arXiv 2211.06687), projected; the mean over windows of 10 seconds."""

    def __init__(self, source: str = HUB) -> None:
        """Load a model.

        Args:
            source: id on the hub, "id@revision", or a folder that `save_pretrained` wrote, the feature extractor beside
                the model.

        Raises:
            InputError: there is no such model, the hub cannot be reached, or the model is of another kind.
        """
        (self._extractor, config), weights = found(
            source,
            "a CLAP",
            lambda name, revision: (
                ClapFeatureExtractor.from_pretrained(name, revision=revision),
                ClapAudioConfig.from_pretrained(name, revision=revision),
            ),
            'name a folder: --encoder "clap:FOLDER"; or use the encoder statistics, which needs no weights',
        )
        if config.model_type != "clap_audio_model":
            raise InputError(f"the model {source} is no CLAP", got=config.model_type, expected="clap")
        if config.enable_fusion:
            raise InputError(f"the model {source} fuses several views of long sounds", expected=f"one like {HUB}")
        self._model = filled(lambda: ClapAudioModelWithProjection(config), weights)
        self.width = int(config.projection_dim)
        self.id = f"audio/clap-{digest(self._model)}@1"

    @torch.inference_mode()
    def encode(self, samples: Sequence[Any]) -> np.ndarray:
        """Embeddings (n, width), float32, of n sounds, one by one.

        Raises:
            PairsError: a sample is not one.
        """
        rate, window = int(self._extractor.sampling_rate), int(self._extractor.nb_max_samples)
        rows = np.empty((len(samples), self.width), np.float32)
        for row, sample in zip(rows, samples, strict=True):
            signal = read_sample(sample).at(rate)
            # The extractor would cut a longer sound at random.
            windows = [signal[start : start + window] for start in range(0, len(signal), window)]
            features = self._extractor(
                windows, sampling_rate=rate, truncation="rand_trunc", padding="repeatpad", return_tensors="pt"
            )
            row[:] = self._model(input_features=features["input_features"]).audio_embeds.mean(0).numpy()
        return rows
