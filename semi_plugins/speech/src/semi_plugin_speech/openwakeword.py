"""The encoder "openwakeword": which sounds of speech follow each other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from semi.artifacts import rebuilding
from semi.assets.onnx import read_onnx
from torch import Tensor
from torch.nn.functional import conv1d, conv2d, leaky_relu, max_pool2d

from semi_plugin_speech.reading import read_sample

RATE, HOP, SIZE = 16_000, 160, 512
FRAMES, STRIDE = 76, 8
"""Mel frames that the network looks at, and by how many it moves on: 80 ms."""
SHORTEST = (FRAMES - 1) * HOP + SIZE
"""Values that give 76 frames, 0.78 s; silence follows shorter clips."""
PCM = 32768
"""Its spectrum is that of 16-bit numbers."""
LAYERS = 19
POOLED = {2: (2, 2), 6: (1, 2), 10: (2, 2), 14: (1, 2), 18: (2, 2)}
"""Convolution -> the pooling behind it, (time, bands)."""


class OpenWakeWord:
    """Google's speech_embedding network as openWakeWord 0.5.1 publishes it (arXiv 2002.01322), run in PyTorch.

    20 convolutions over 76 frames of 32 mel bands give 96 numbers every 80 ms; the embedding is their mean.
    """

    id = "speech/openwakeword@1"
    width = 96

    def __init__(self, spectrum: Path, network: Path) -> None:
        """Read the weights.

        Args:
            spectrum: melspectrogram.onnx.
            network: embedding_model.onnx.

        Raises:
            ArtifactError: a file is damaged or another.
        """
        tensors = {name: torch.from_numpy(values) for name, values in read_onnx(spectrum).items()}
        with rebuilding(spectrum, "spectrum"):
            self._real, self._imaginary, self._mel = (
                tensors[name] for name in ("0.stft.conv_real.weight", "0.stft.conv_imag.weight", "1.melW")
            )
        tensors = {name: torch.from_numpy(values) for name, values in read_onnx(network).items()}
        with rebuilding(network, "network"):
            names = ["model/conv2d/Conv2D", *(f"model/conv2d_{layer}/Conv2D" for layer in range(1, LAYERS))]
            self._layers = [(tensors[f"{name}_weights_fused_bn"], tensors[f"{name}_bias_fused_bn"]) for name in names]
            self._last = tensors["model/conv2d_19/Conv2D/ReadVariableOp:0"]

    def encode(self, samples: Sequence[Any]) -> np.ndarray:
        """Embeddings (n, 96), float32, of n clips, one by one.

        Raises:
            PairsError: a sample is not one.
        """
        rows = np.empty((len(samples), self.width), np.float32)
        for row, sample in zip(rows, samples, strict=True):
            row[:] = self.states(read_sample(sample).at(RATE)).mean(0)
        return rows

    @torch.inference_mode()
    def states(self, signal: np.ndarray) -> np.ndarray:
        """96 numbers every 80 ms (looks, 96) of a signal (T,) at 16 kHz."""
        padded = np.pad(signal, (0, max(0, SHORTEST - len(signal)))).astype(np.float32)
        mel = self.spectrum(torch.from_numpy(padded) * PCM)  # (frames, 32)
        x = mel.unfold(0, FRAMES, STRIDE).transpose(1, 2)[:, None]  # (looks, 1, 76, 32)
        for layer, (weight, bias) in enumerate(self._layers):
            across = (0, 1) if weight.shape[-1] == 3 else (0, 0)  # kernels that span bands keep their number
            x = leaky_relu(conv2d(x, weight, bias, padding=across), 0.2).clamp(min=-0.4)
            if layer in POOLED:
                x = max_pool2d(x, POOLED[layer])
        states: np.ndarray = conv2d(x, self._last).flatten(1).numpy()
        return states

    def spectrum(self, signal: Tensor) -> Tensor:
        """Mel bands (frames, 32) of a signal (T,): decibels, 80 below the loudest at least, over 10, plus 2."""
        real, imaginary = (conv1d(signal[None, None], part, stride=HOP)[0] for part in (self._real, self._imaginary))
        decibels = 10 * torch.log10((self._mel.T @ (real**2 + imaginary**2)).clamp(min=1e-10)).T
        return decibels.clamp(min=float(decibels.max()) - 80) / 10 + 2
