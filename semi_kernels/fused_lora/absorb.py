"""Reflections as rank: an isometry that serves many calls costs nothing after the first."""

from __future__ import annotations

import torch
from torch import Tensor

from semi_kernels.isometry import Householder
from semi_kernels.weights import Weight


def absorb(
    isometry: Householder, weight: Weight, A: Tensor | None = None, B: Tensor | None = None, *, scale: float = 1.0
) -> tuple[Tensor, Tensor]:
    """The adapter (A', B') with x R W^T + scale (x R) A B = x W^T + (x A') B', for `fused_lora` with scale = 1.

    With R = I - V T V^T: A' = [A, V] and B' = [scale B ; -T V^T (W^T + scale A B)]. The weight stays as it is, 4-bit or
    not. The new rows of B' cost one pass over it, 2 k K N flops; differentiable in A and B. Source of the compact form:
    Schreiber and Van Loan 1989.

    Args:
        isometry: of width K, k reflections.
        weight: (N, K).
        A: (G, K, r) or (K, r); None, with B, for reflections alone.
        B: (G, r, N) or (r, N).
        scale: of the adapter's product; the result has it in B'.

    Returns:
        (..., K, r + k) and (..., r + k, N).

    Raises:
        ValueError: A without B, or widths that do not fit.
    """
    if (A is None) != (B is None):
        raise ValueError(f"absorb: got {'A without B' if B is None else 'B without A'}, expected both or none")
    W = weight if isinstance(weight, Tensor) else weight.dequantize()
    if isometry.d != W.shape[1]:
        raise ValueError(f"absorb: got an isometry of width {isometry.d}, expected {W.shape[1]}, the weight's columns")
    dtype = W.dtype if A is None else A.dtype
    V, T = isometry.v.to(dtype), isometry.t.to(dtype)
    turned = -T @ (V.T @ W.to(dtype).T)  # (k, N)
    if A is None or B is None:
        return V, turned
    below = turned - scale * T @ ((V.T @ A) @ B)  # (..., k, N)
    right = V.expand(*A.shape[:-2], *V.shape)
    return torch.cat([A, right], dim=-1), torch.cat([scale * B, below], dim=-2)
