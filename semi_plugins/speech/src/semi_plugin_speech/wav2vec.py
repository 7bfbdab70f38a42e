"""The encoder "wavlm": WavLM, HuBERT or wav2vec 2.0 of the Hugging Face hub, or one in a folder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from semi.errors import InputError
from transformers import AutoConfig, AutoModel

from semi_plugin_speech.hub import digest, filled, found
from semi_plugin_speech.reading import read_sample

RATE = 16_000
HUB = "microsoft/wavlm-base-plus"
KINDS = ("wavlm", "hubert", "wav2vec2")


class Wav2Vec:
    """The mean of the last layer over time; the signal is brought to mean 0 and variance 1 before, clip by clip."""

    def __init__(self, source: str = HUB) -> None:
        """Load a model.

        Args:
            source: id on the hub, "id@revision", or a folder that `save_pretrained` wrote.

        Raises:
            InputError: there is no such model, the hub cannot be reached, or the model is of another kind.
        """
        config, weights = found(
            source,
            f"one of {', '.join(KINDS)}",
            lambda name, revision: AutoConfig.from_pretrained(name, revision=revision),
            'name a folder: --encoder "wavlm:FOLDER"; or use the encoder whisper-base',
        )
        if config.model_type not in KINDS:
            raise InputError(f"the model {source} does not hear", got=config.model_type, expected=", ".join(KINDS))
        prefixes = [f"{kind}." for kind in KINDS]  # in a file with a head for recognition
        self._model = filled(lambda: AutoModel.from_config(config), weights, prefixes)  # type: ignore[no-untyped-call]
        self.width = int(config.hidden_size)
        self.id = f"speech/{config.model_type}-{digest(self._model)}@1"

    @torch.inference_mode()
    def encode(self, samples: Sequence[Any]) -> np.ndarray:
        """Embeddings (n, width), float32, of n clips, one by one.

        Raises:
            PairsError: a sample is not one.
        """
        rows = np.empty((len(samples), self.width), np.float32)
        for row, sample in zip(rows, samples, strict=True):
            signal = read_sample(sample).at(RATE)
            scaled = (signal - signal.mean()) / np.sqrt(signal.var() + 1e-7)
            states = self._model(torch.from_numpy(scaled)[None]).last_hidden_state[0]  # (positions, width)
            row[:] = states.mean(0).numpy()
        return rows
