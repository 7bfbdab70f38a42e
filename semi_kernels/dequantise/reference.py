"""What `dequantise` computes, in plain PyTorch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from semi_kernels.weights import dense


def dequantise(
    weights: Sequence[Tensor],
    layout: str,
    N: int,
    K: int,
    A: Tensor | None,  # (K, r)
    B: Tensor | None,  # (r, N)
    scale: float,
    dtype: torch.dtype,
) -> Tensor:
    """deq(W) + scale (A B)^T, (N, K): in float32 at least, rounded once."""
    if A is None or B is None:
        return dense(weights, layout, N, K, dtype)
    working = torch.promote_types(torch.promote_types(dtype, A.dtype), torch.float32)
    W = dense(weights, layout, N, K, working)
    return torch.addmm(W, B.to(working).T, A.to(working).T, alpha=scale).to(dtype)
