"""Whisper's encoder (Radford et al., arXiv 2212.04356): the weights of the asset, or any model of that kind."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from semi.artifacts import load_module
from semi.errors import InputError
from transformers import WhisperConfig
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from semi_plugin_speech.hub import digest, filled, found
from semi_plugin_speech.mel import mel_filters, power_spectrum
from semi_plugin_speech.reading import read_sample

RATE = 16_000
SIZE, HOP = 400, 160
STEP = 2 * HOP
"""Values a position of the encoder: 50 positions a second."""
SLACK = 2.0
"""Seconds of silence that follow a clip in quick mode."""
HUB = "openai/whisper-small"


class Whisper:
    """The mean of the last layer over the time that the clip lasts, or over each of some parts of it.

    Whisper always hears 30 seconds; what is missing is silence, and has no part in the mean. In quick mode only two
    seconds of silence follow: about 10 times faster for short clips, and other numbers.
    """

    def __init__(self, model: WhisperEncoder, name: str, *, parts: int | None = None, quick: bool = False) -> None:
        """Take over a model.

        Args:
            model: with its weights.
            name: the id without its version.
            parts: how many means, in the order of time; None: one, and embeddings (n, width).
            quick: leave out most of the silence.
        """
        suffix = ("-quick" if quick else "") + (f"-{parts}parts" if parts else "")
        self.id = f"{name}{suffix}@1"
        self.width = int(model.config.d_model)
        self._model = model.train(False).requires_grad_(False)
        self._positions = int(model.config.max_source_positions)
        self._parts, self._quick = parts, quick

    def encode(self, samples: Sequence[Any]) -> np.ndarray:
        """Embeddings (n, width) or (n, parts, width), float32, of n clips, one by one.

        Raises:
            PairsError: a sample is not one.
        """
        shape = (len(samples), self._parts, self.width) if self._parts else (len(samples), self.width)
        rows = np.empty(shape, np.float32)
        for row, sample in zip(rows, samples, strict=True):
            states = self.states(read_sample(sample).at(RATE))
            row[...] = _means(states, self._parts) if self._parts else states.mean(0)
        return rows

    @torch.inference_mode()
    def states(self, signal: np.ndarray) -> np.ndarray:
        """The last layer (positions, width) for as long as a signal (T,) at 16 kHz lasts, 50 positions a second."""
        signal = signal[: self._positions * STEP]
        lasting = -(-len(signal) // STEP)
        heard = min(lasting + round(SLACK * RATE / STEP), self._positions) if self._quick else self._positions
        features = log_mel(np.pad(signal, (0, heard * STEP - len(signal))), int(self._model.config.num_mel_bins))
        # As WhisperEncoder.forward, which takes 30 seconds and nothing else.
        x = torch.from_numpy(features)[None]  # (1, bands, 2 heard)
        x = torch.nn.functional.gelu(self._model.conv1(x))
        x = torch.nn.functional.gelu(self._model.conv2(x)).permute(0, 2, 1)  # (1, heard, width)
        x = x + self._model.embed_positions.weight[:heard]
        for layer in self._model.layers:
            x = layer(x, None)
        states: np.ndarray = self._model.layer_norm(x)[0, :lasting].numpy()
        return states


def log_mel(signal: np.ndarray, bands: int) -> np.ndarray:
    """Whisper's input (bands, T // 160), float32, for a signal (T,) at 16 kHz: 8 decades below the loudest are kept."""
    padded = np.pad(signal, SIZE // 2, mode="reflect")
    power = power_spectrum(padded, SIZE, HOP)[:-1] @ mel_filters(bands, SIZE, RATE).T  # (frames, bands)
    decades = np.log10(np.maximum(power, 1e-10))
    scaled = (np.maximum(decades, decades.max() - 8) + 4) / 4
    return np.ascontiguousarray(scaled.T, np.float32)


def base_encoder(weights: Path) -> WhisperEncoder:
    """Whisper-base with the weights of a safetensors file that holds the encoder alone.

    Raises:
        ArtifactError: the file holds something else.
    """
    config = WhisperConfig(d_model=512, encoder_layers=6, encoder_attention_heads=8, encoder_ffn_dim=2048)
    model = _born(config)
    load_module(model, weights)
    return model


def hub_encoder(source: str) -> tuple[WhisperEncoder, str]:
    """The encoder of any Whisper, and a digest of its configuration and weights.

    Args:
        source: id on the hub, "id@revision", or a folder that `save_pretrained` wrote.

    Raises:
        InputError: there is no such model, the hub cannot be reached, or the model is of another kind.
        ArtifactError: its file lacks weights.
    """
    config, weights = found(
        source,
        "a Whisper",
        lambda name, revision: WhisperConfig.from_pretrained(name, revision=revision),
        'name a folder: --encoder "whisper:FOLDER"; or use the encoder whisper-base',
    )
    if config.model_type != "whisper":
        raise InputError(f"the model {source} is no Whisper", got=config.model_type, expected="whisper")
    model = filled(lambda: WhisperEncoder(config), weights, ("model.encoder.", "encoder."))
    return model, digest(model)


def _born(config: WhisperConfig) -> WhisperEncoder:
    with torch.random.fork_rng(devices=[]):  # the weights that it is born with are drawn
        return WhisperEncoder(config)


def _means(states: np.ndarray, parts: int) -> np.ndarray:
    """Means (parts, width) over stretches of equal length; neighbours overlap where there are fewer positions."""
    edges = np.linspace(0, len(states), parts + 1)
    means = [states[int(a) : max(int(a) + 1, int(np.ceil(b)))].mean(0) for a, b in pairwise(edges)]
    return np.stack(means)
