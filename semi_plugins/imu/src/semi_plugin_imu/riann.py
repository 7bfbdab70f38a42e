"""The encoder "riann": what a network that knows which way is up makes of a movement."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from semi.artifacts import rebuilding
from semi.assets.onnx import read_onnx
from semi.export import Network
from semi.export.recurrent import GRULayer
from torch import Tensor

from semi_plugin_imu.recording import MEASURED
from semi_plugin_imu.sources.reading import read_sample

RATE = 50.0
"""Hz; the network was trained from 50 to 500."""
HIDDEN, INPUTS = 200, 7
LAYERS = (("169", "170", "171"), ("189", "190", "191"))
"""Names in riann.onnx: weights of the input (1, 600, .) and of the state (1, 600, 200), biases of both (1, 1200)."""
SCALES = ("12", "14")
"""Names in riann.onnx of the mean and the deviation that inputs are centred and scaled by, (7,) each."""


class Riann:
    """RIANN (Weber, Guehmann and Seel, AI 2, 444 (2021)): a GRU of two layers of 200 that estimates attitude.

    The embedding is the mean and then the standard deviation over time of the state of layer 1, then those of layer 2:
    800 numbers. The network starts from the state 0 in each window.
    """

    id = "imu/riann@1"
    width = 4 * HIDDEN

    def __init__(self, onnx: Path) -> None:
        tensors = read_onnx(onnx)
        with rebuilding(onnx, "RIANN"):
            mean, deviation = (torch.from_numpy(tensors[name].reshape(INPUTS)) for name in SCALES)
            layers = [gru(*(tensors[name] for name in names)) for names in LAYERS]
        self._layers = _Layers(mean, deviation, layers)

    def encode(self, samples: Sequence[Any]) -> np.ndarray:
        """Embeddings (n, 800), float32, of n windows, each brought to 50 Hz, one by one (about 20 ms for 4 s).

        Raises:
            PairsError: a sample is not one.
            InputError: acceleration or angular velocity is absent.
        """
        result = np.empty((len(samples), self.width), np.float32)
        for row, sample in zip(result, samples, strict=True):
            with torch.inference_mode():
                row[:] = self._layers(torch.from_numpy(_measured(sample))).numpy()
        return result

    def network(self) -> Network:
        """All of it, for measurements at 50 Hz."""
        return Network(self._layers, _measured, ("T", INPUTS - 1), "float32", f"{MEASURED}, evenly at {RATE:g} Hz")

    @torch.inference_mode()
    def states(self, measured: np.ndarray) -> list[Tensor]:
        """The states of both layers, (T, 200) each, for measurements (T, 6) in SI units at 50 Hz."""
        return self._layers.states(torch.from_numpy(measured.astype(np.float32)))


class _Layers(torch.nn.Module):
    """Measurements (T, 6) at 50 Hz -> the embedding (800,)."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, mean: Tensor, deviation: Tensor, layers: Sequence[torch.nn.GRU]) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("deviation", deviation)
        self.layers = torch.nn.ModuleList(map(GRULayer, layers))

    def forward(self, measured: Tensor) -> Tensor:
        states = self.states(measured)
        return torch.cat([part for state in states for part in (state.mean(0), state.std(0, correction=0))])

    def states(self, measured: Tensor) -> list[Tensor]:
        steps = torch.full_like(measured[:, :1], 1 / RATE)
        x = (torch.cat((measured, steps), 1) - self.mean) / self.deviation  # (T, 7)
        states: list[Tensor] = []
        for layer in self.layers:
            x = layer(x)
            states.append(x)
        return states


def _measured(sample: Any) -> np.ndarray:
    return read_sample(sample).at(RATE).both("riann").astype(np.float32)


def gru(of_input: np.ndarray, of_state: np.ndarray, bias: np.ndarray) -> torch.nn.GRU:
    """A layer of PyTorch with the weights of one of ONNX, whose gates are in the order update, reset, new.

    Args:
        of_input: (1, 600, d).
        of_state: (1, 600, 200).
        bias: (1, 1200), of the input and then of the state.
    """
    layer = torch.nn.GRU(of_input.shape[-1], HIDDEN)
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    for name, values in zip(names, (of_input[0], of_state[0], *np.split(bias[0], 2)), strict=True):
        update, reset, new = np.split(values, 3)
        getattr(layer, name).data.copy_(torch.from_numpy(np.concatenate((reset, update, new))))
    return layer.train(False).requires_grad_(False)
