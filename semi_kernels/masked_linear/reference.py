"""What `masked_nf4_linear` computes, in plain PyTorch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from semi_kernels.masked_linear.bits import unpack_mask
from semi_kernels.weights import dense


def masked_weight(
    weights: Sequence[Tensor],
    layout: str,
    N: int,
    K: int,
    tau: Tensor,  # (N, K)
    mask: Tensor,  # (ceil(N K / 8),) bits
    scale: Tensor | None,  # (N,)
    dtype: torch.dtype,
) -> Tensor:
    """deq(W0) + m * scale * tau, (N, K): in float32 at least, rounded once."""
    working = torch.promote_types(dtype, torch.float32)
    step = tau.to(working)
    if scale is not None:
        step = scale.to(working)[:, None] * step
    kept = torch.where(unpack_mask(mask, (N, K)), step, 0)  # not a product: what is masked out may be anything
    return (dense(weights, layout, N, K, working) + kept).to(dtype)


def masked_linear(
    x: Tensor,  # (M, K)
    weights: Sequence[Tensor],
    layout: str,
    N: int,
    tau: Tensor,
    mask: Tensor,
    scale: Tensor | None,
    bias: Tensor | None,  # (N,)
) -> Tensor:
    """x (deq(W0) + m * scale * tau)^T + bias, (M, N)."""
    return functional.linear(x, masked_weight(weights, layout, N, x.shape[1], tau, mask, scale, x.dtype), bias)
