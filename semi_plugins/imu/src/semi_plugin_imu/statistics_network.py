"""The encoder "statistics" in PyTorch, as ONNX takes it: any length, and no operator that runtimes lack."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor

from semi_plugin_imu.statistics import BANDS, FLOOR, RATE, SCALES

QUARTILES = (0.25, 0.5, 0.75)


class StatisticsNetwork(torch.nn.Module):
    """Measurements (T, 6) in SI units at 50 Hz -> the embedding (96,), within 1e-5 of `Statistics.encode`."""

    scales: Tensor
    edges: Tensor
    period: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("scales", torch.tensor(list(SCALES.values())))  # (2,)
        # tensors, since the exporter rounds plain numbers to float32: a frequency would leave its band
        self.register_buffer("edges", torch.tensor(BANDS, dtype=torch.float64))
        self.register_buffer("period", torch.tensor(1 / RATE, dtype=torch.float64))

    def forward(self, measured: Tensor) -> Tensor:
        vectors = measured.reshape(-1, 2, 3) * self.scales[:, None]
        lengths = vectors.square().sum(2, keepdim=True).sqrt()
        x = torch.cat((vectors, lengths), 2).flatten(1)  # (T, 8)
        still = x - x.mean(0)
        low, median, high = _quartiles(x)
        before = (torch.arange(x.shape[0], device=x.device) - 1).clamp_min(0)
        steps = x - x[before]  # (T, 8), the first of them 0: a shape of T - 1 cannot be traced
        features = [
            x.mean(0),
            still.square().mean(0).sqrt(),
            x.amin(0),
            x.amax(0),
            median,
            high - low,
            (steps.square().sum(0) / (x.shape[0] - 1)).sqrt(),
            *(0.5 * torch.log10(FLOOR + variance) for variance in self._variance_in_bands(still)),
        ]
        return torch.stack(features, 1).flatten()

    def _variance_in_bands(self, still: Tensor) -> list[Tensor]:
        """(8,) for each band, by matrices of cosines and sines, which every runtime multiplies."""
        place = torch.arange(still.shape[0], device=still.device)  # (T,)
        length = place[-1] + 1
        window = 0.5 - 0.5 * torch.cos(2 * math.pi * (place + 1) / (length + 1))  # (T,)
        # whole numbers modulo the length first: an angle of thousands of turns has no digits left in float32
        angles = 2 * math.pi * ((place[:, None] * place) % length) / length
        y = still * window[:, None]
        spectrum = (torch.cos(angles) @ y).square() + (torch.sin(angles) @ y).square()  # (T, 8)
        power = 2 * spectrum / (length * window.square().sum())
        frequencies = place.double() * (1 / (length.double() * self.period))  # the float64 of numpy.fft.rfftfreq
        # those beyond half the rate, which are the others once more, are in no band
        bands = [((frequencies > low) & (frequencies <= high)).to(power) for low, high in pairwise(self.edges)]
        return [band @ power for band in bands]


def _quartiles(x: Tensor) -> Tensor:
    """(3, 8): weights of the sorted values, since an index that depends on the length cannot be traced."""
    place = torch.arange(x.shape[0], device=x.device).to(x)
    at = torch.tensor(QUARTILES, device=x.device)[:, None] * place[-1]  # (3, 1)
    weights = (1 - (place - at).abs()).clamp_min(0)  # (3, T)
    return weights @ x.sort(0).values
