"""Launching the kernels of `masked_nf4_linear`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional

from semi_kernels import dispatch
from semi_kernels.configurations import Blocks, Gpu, few_rows, gpu
from semi_kernels.tiles import ceil_div
from semi_kernels.weights import launching, nf4

WRITE_WARPS = 8


def masked_linear(
    x: Tensor,
    weights: Sequence[Tensor],
    layout: str,
    N: int,
    tau: Tensor,
    mask: Tensor,
    scale: Tensor | None,
    bias: Tensor | None,
) -> Tensor:
    """(M, N): one launch for few rows; for more, the weight is written once and multiplied by a GEMM."""
    from semi_kernels.masked_linear.kernel import _masked_linear

    M, K = x.shape
    if M > dispatch.FEW_ROWS:
        return functional.linear(x, masked_weight(weights, layout, N, K, tau, mask, scale, x.dtype), bias)
    y = x.new_empty(M, N)
    if M == 0:
        return y
    b = blocks_for(gpu(x.device), M, N, K, layout, x.itemsize)
    pointers = launching.operands(weights, x)
    with dispatch.device_of(x):
        _masked_linear[(ceil_div(N, b.BN), ceil_div(M, b.BM))](
            x, *x.stride(), pointers[0], *launching.strides(weights, layout), *pointers[1:], tau, *tau.stride(), mask,
            x if scale is None else scale, x if bias is None else bias, y, M,
            N, K, layout, scale is not None, bias is not None, b.BM, b.BN, b.BK,
            num_warps=b.num_warps, num_stages=b.num_stages, enable_fp_fusion=False,
        )  # fmt: skip
    return y


def masked_weight(
    weights: Sequence[Tensor],
    layout: str,
    N: int,
    K: int,
    tau: Tensor,
    mask: Tensor,
    scale: Tensor | None,
    dtype: torch.dtype,
) -> Tensor:
    """deq(W0) + m * scale * tau, (N, K) in `dtype`."""
    from semi_kernels.masked_linear.kernel import _masked_weight

    out = torch.empty((N, K), dtype=dtype, device=tau.device)
    pointers = launching.operands(weights, out)
    tile = write_tile(layout, K)
    with dispatch.device_of(out):
        _masked_weight[(ceil_div(K, tile["BK"]), ceil_div(N, tile["BN"]))](
            pointers[0], *launching.strides(weights, layout), *pointers[1:], tau, *tau.stride(), mask,
            out if scale is None else scale, out, N, K, layout, scale is not None, **tile,
            num_warps=WRITE_WARPS, enable_fp_fusion=False,
        )  # fmt: skip
    return out


def blocks_for(on: Gpu, M: int, N: int, K: int, layout: str, itemsize: int) -> Blocks:
    """As for a dense weight, which the task vector is as large as; smaller where that would spill registers.

    That is in float32, whose products take no tensor cores, and where entries are addressed one by one.
    """
    blocks = few_rows(on, M=M, N=N, layout="dense", itemsize=itemsize, rank=0)
    if itemsize == 4:
        return replace(blocks, BM=16, BN=16, BK=64, num_stages=2)
    if _single(layout, K):
        return replace(blocks, BM=min(blocks.BM, 32), BN=16, BK=64, num_stages=2)
    return replace(blocks, BK=blocks.BK if blocks.BM == 16 else 64)


def write_tile(layout: str, K: int) -> dict[str, int]:
    """What a program writes."""
    return {"BN": 32 if _single(layout, K) else 64, "BK": 128}


def _single(layout: str, K: int) -> bool:
    """Whether every entry computes its own address: blocks straddle rows, or bytes of the mask do."""
    return K % (nf4.BLOCK if layout in ("nf4", "nf4_nested") else 8) != 0
