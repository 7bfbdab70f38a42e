"""Weights of 4 bits, and the flat form in which operations take any weight."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from semi_kernels.weights.nf4 import NF4Weight
from semi_kernels.weights.q4 import Q4Weight

Weight = Tensor | NF4Weight | Q4Weight
"""(N, K): what a frozen linear layer multiplies by."""
LAYOUTS = ("dense", "nf4", "nf4_nested", "q4_1", "none")

__all__ = ["LAYOUTS", "NF4Weight", "Q4Weight", "Weight", "dense", "flatten", "unflatten"]


def flatten(weight: Weight | None) -> tuple[list[Tensor], str, int, int]:
    """The parts of a weight, their layout, N and K: what the schema of an operation can hold.

    None gives ([], "none", 0, 0).

    Raises:
        TypeError: something else. ValueError: a tensor that is not (N, K).
    """
    if weight is None:
        return [], "none", 0, 0
    if isinstance(weight, Tensor):
        if weight.ndim != 2:
            raise ValueError(f"weight: got shape {tuple(weight.shape)}, expected (N, K)")
        return [weight], "dense", weight.shape[0], weight.shape[1]
    if isinstance(weight, NF4Weight | Q4Weight):
        return weight.tensors(), weight.layout, weight.shape[0], weight.shape[1]
    raise TypeError(f"weight: got {type(weight).__name__}, expected a tensor (N, K), NF4Weight, Q4Weight or None")


def unflatten(
    tensors: Sequence[Tensor], layout: str, n: int, k: int, dtype: torch.dtype = torch.float32
) -> Weight | None:
    """The inverse of `flatten`; a 4-bit weight decodes to `dtype`."""
    if layout == "none":
        return None
    if layout == "dense":
        return tensors[0]
    if layout in ("nf4", "nf4_nested"):
        return NF4Weight.from_tensors(tensors, (n, k), dtype)
    if layout == "q4_1":
        return Q4Weight.from_tensors(tensors, (n, k), dtype)
    raise ValueError(f"weight: got layout {layout!r}, expected {', '.join(LAYOUTS)}")


def dense(tensors: Sequence[Tensor], layout: str, n: int, k: int, dtype: torch.dtype) -> Tensor:
    """The weight (N, K) in `dtype`, decoded in plain PyTorch. Raises ValueError for the layout "none"."""
    weight = unflatten(tensors, layout, n, k, dtype)
    if weight is None:
        raise ValueError("weight: got none, expected one")
    return weight.to(dtype) if isinstance(weight, Tensor) else weight.dequantize(dtype)
