"""Layers of a decoupled merge, with memory around every part that must not be read."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from semi_kernels.masked_linear import pack_mask
from semi_kernels.weights import NF4Weight, Q4Weight
from tests.semi_kernels.numerics import guarded

LAYOUTS = ["dense", "nf4", "nf4_nested", "q4_1"]


@dataclass
class Layer:
    """Arguments, and the weight they mean in float64."""

    weight: Tensor | NF4Weight | Q4Weight
    tau: Tensor
    mask: Tensor
    kept: Tensor
    scale: Tensor | None
    bias: Tensor | None

    def decoded(self) -> Tensor:
        """W0 in float32, (N, K)."""
        return self.weight.float() if isinstance(self.weight, Tensor) else self.weight.dequantize(torch.float32)

    def exact(self) -> Tensor:
        """deq(W0) + m * scale * tau in float64, (N, K)."""
        step = torch.where(self.kept, self.tau.double(), 0)
        return self.decoded().double() + (step if self.scale is None else self.scale.double()[:, None] * step)

    def eager(self, x: Tensor) -> Tensor:
        """What PyTorch does in x's dtype."""
        step = torch.where(self.kept, self.tau, 0).to(x.dtype)
        if self.scale is not None:
            step = self.scale.to(x.dtype)[:, None] * step
        return torch.nn.functional.linear(x, self.decoded().to(x.dtype) + step, self.bias)


def random(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def layer(layout: str, N: int, K: int, dtype: torch.dtype = torch.float32, extras: bool = True) -> Layer:
    """W0 of unit rms; tau a tenth of it, half of it masked out; extras: a bias and a scale for each row."""
    W = random(N, K, dtype=dtype)
    weight: Tensor | NF4Weight | Q4Weight = guarded(W)
    if layout == "q4_1":
        affine = Q4Weight.from_float(W)
        weight = Q4Weight.from_tensors([guarded(part) for part in affine.tensors()], (N, K), dtype)
    elif layout != "dense":
        normal = NF4Weight.from_float(W, nested=layout == "nf4_nested")
        weight = NF4Weight.from_tensors([guarded(part) for part in normal.tensors()], (N, K), dtype)
    kept = random(N, K, seed=2) > 0
    tau = (0.1 * random(N, K, seed=1)).to(dtype)
    scale = guarded(1 + 0.3 * random(N, seed=3)) if extras else None
    bias = guarded(random(N, dtype=dtype, seed=4)) if extras else None
    return Layer(weight, guarded(tau), guarded(pack_mask(kept)), kept, scale, bias)
