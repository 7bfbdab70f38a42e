"""The encoder "resemblyzer": who speaks rather than what is said."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from semi.artifacts import load_tensors, rebuilding
from semi.errors import ArtifactError

from semi_plugin_speech.mel import mel_filters, power_spectrum
from semi_plugin_speech.reading import read_sample

RATE, SIZE, HOP, BANDS = 16_000, 400, 160, 40
PARTIAL = 160
"""Frames of one look: 1.6 s."""
STRIDE = 77
"""Frames between looks: 1.3 of them a second."""
COVERAGE = 0.75
"""A last look that the clip fills to less is left out."""
LOUDNESS = 10 ** (-30 / 20)
"""Root mean square, of full scale: quieter clips are raised to it."""


class Resemblyzer(torch.nn.Module):
    """The speaker encoder of Resemblyzer 0.1.4 (generalized end-to-end loss, Wan et al., arXiv 1710.10467).

    Three LSTM layers over mel bands; the mean over looks of 1.6 s, of unit length. The package cuts out long silences
    by WebRTC's voice detection before; this does not.
    """

    id = "speech/resemblyzer@1"
    width = 256

    def __init__(self, weights: Path) -> None:
        """Read the weights.

        Args:
            weights: the checkpoint's tensors as safetensors.

        Raises:
            ArtifactError: they are not those of the network.
        """
        super().__init__()
        with torch.random.fork_rng(devices=[]):  # the weights that it is born with are drawn
            self.lstm = torch.nn.LSTM(BANDS, self.width, 3, batch_first=True)
            self.linear = torch.nn.Linear(self.width, self.width)
        tensors = load_tensors(weights)
        if missing := sorted(set(self.state_dict()) - set(tensors)):
            raise ArtifactError(f"{weights} is not Resemblyzer's", got=f"no {missing[0]}")
        with rebuilding(weights, "Resemblyzer"):
            self.load_state_dict({name: tensors[name] for name in self.state_dict()})
        self.train(False).requires_grad_(False)

    def encode(self, samples: Sequence[Any]) -> np.ndarray:
        """Embeddings (n, 256), float32, of n clips, one by one.

        Raises:
            PairsError: a sample is not one.
        """
        rows = np.empty((len(samples), self.width), np.float32)
        for row, sample in zip(rows, samples, strict=True):
            row[:] = self._embedding(read_sample(sample).at(RATE))
        return rows

    @torch.inference_mode()
    def _embedding(self, signal: np.ndarray) -> np.ndarray:
        looks = torch.from_numpy(partials(signal))  # (looks, 160, 40)
        _, (hidden, _) = self.lstm(looks)
        found = torch.relu(self.linear(hidden[-1])).numpy()  # (looks, 256)
        mean: np.ndarray = _unit(_unit(found).mean(0))
        return mean


def partials(signal: np.ndarray) -> np.ndarray:
    """Mel bands (looks, 160, 40), float32, of a signal (T,) at 16 kHz; silence fills up the last look."""
    level = float(np.sqrt(np.mean(signal.astype(np.float64) ** 2)))
    signal = signal * max(1.0, LOUDNESS / level) if level > 0 else signal
    frames = len(signal) // HOP + 1
    starts = list(range(0, max(1, frames - PARTIAL + STRIDE + 1), STRIDE))
    if len(starts) > 1 and (len(signal) / HOP - starts[-1]) / PARTIAL < COVERAGE:
        del starts[-1]
    reach = (starts[-1] + PARTIAL) * HOP
    padded = np.pad(signal, (SIZE // 2, SIZE // 2 + max(0, reach - len(signal))))
    mel = power_spectrum(padded, SIZE, HOP) @ mel_filters(BANDS, SIZE, RATE).T  # (frames, 40)
    return np.stack([mel[start : start + PARTIAL] for start in starts]).astype(np.float32)


def _unit(vectors: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    scaled: np.ndarray = vectors / np.maximum(lengths, 1e-12)
    return scaled
