"""Layers to compute: one description, made into tensors of any dtype."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from semi_kernels.isometry import KINDS, Isometry
from semi_kernels.weights import NF4Weight, Q4Weight, Weight
from tests.semi_kernels.numerics import guarded

WEIGHTS = ("dense", "nf4", "nf4_nested", "q4_1")


@dataclass(frozen=True)
class Case:
    """A layer and its rows."""

    M: int = 5
    K: int = 96
    N: int = 40
    r: int = 8
    G: int = 1
    weight: str = "dense"
    isometry: str | None = None
    activation: str | None = None
    base: bool = True
    bias: bool = True
    scale: float = 0.5

    def __str__(self) -> str:
        parts = [f"{self.M}x{self.K}-{self.N}", f"r{self.r}", f"G{self.G}", self.weight]
        parts += [p for p in (self.isometry, self.activation, None if self.base else "nobase") if p]
        return "-".join(parts)


def make(case: Case, dtype: torch.dtype, seed: int = 0) -> dict[str, Any]:
    """The arguments of `fused_lora`, every tensor in memory that is NaN around it."""
    g = torch.Generator().manual_seed(seed)

    def normal(*shape: int, scale: float = 1.0) -> Tensor:
        return guarded((torch.randn(*shape, generator=g) * scale).to(dtype))

    has_adapter = case.r > 0
    return {
        "x": normal(case.M, case.K),
        "weight": stored(normal(case.N, case.K, scale=case.K**-0.5), case.weight),
        "A": normal(case.G, case.K, case.r, scale=case.K**-0.5) if has_adapter else None,
        "B": normal(case.G, case.r, case.N) if has_adapter else None,
        "bias": normal(case.N) if case.bias else None,
        "adapter_bias": normal(case.G, case.N) if has_adapter and case.bias else None,
        "rows": guarded(torch.randint(case.G, (case.M,), generator=g)) if case.G > 1 else None,
        "isometry": drawn(case.isometry, case.K, g),
        "scale": case.scale,
        "activation": case.activation,
        "base": case.base,
    }


def stored(weight: Tensor, how: str) -> Weight:
    """The same weight, quantised."""
    if how == "dense":
        return weight
    if how == "q4_1":
        return Q4Weight.from_float(weight)
    return NF4Weight.from_float(weight, nested=how == "nf4_nested")


def drawn(kind: str | None, d: int, generator: torch.Generator) -> Isometry | None:
    """An isometry of R^d."""
    return None if kind is None else KINDS[kind].sample(d, generator=generator)


def in_float64(arguments: dict[str, Any]) -> dict[str, Any]:
    """The same numbers, as they were rounded, in float64; a 4-bit weight as it decodes in x's dtype."""
    dtype = arguments["x"].dtype
    wide = {k: v.double() if isinstance(v, Tensor) and v.is_floating_point() else v for k, v in arguments.items()}
    if not isinstance(arguments["weight"], Tensor):
        wide["weight"] = arguments["weight"].dequantize(dtype).double()
    return wide
