"""Launching the kernels of `dequantise`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from semi_kernels import dispatch
from semi_kernels.tiles import ceil_div, power_of_two
from semi_kernels.weights import launching, nf4, q4

BLOCKS = {"nf4": 64, "nf4_nested": 64, "q4_1": 128}
"""Blocks a program decodes: 4096 entries, 16 bytes a lane."""
DECODE_WARPS, MERGE_WARPS = 4, 8


def tile(layout: str, K: int) -> dict[str, int]:
    """What a program merges. Where blocks straddle rows, every entry is addressed by itself: half the rows."""
    straddling = layout in ("nf4", "nf4_nested") and K % nf4.BLOCK
    return {"BN": 32 if straddling else 64, "BK": 128}


def dequantise(
    weights: Sequence[Tensor],
    layout: str,
    N: int,
    K: int,
    A: Tensor | None,
    B: Tensor | None,
    scale: float,
    dtype: torch.dtype,
) -> Tensor:
    """deq(W) + scale (A B)^T, (N, K); a dense W needs A and B."""
    from semi_kernels.dequantise.kernel import _decode, _merge

    out = torch.empty((N, K), dtype=dtype, device=weights[0].device)
    pointers = launching.operands(weights, out)
    if A is None or B is None:
        block = q4.BLOCK if layout == "q4_1" else nf4.BLOCK
        blocks = ceil_div(N * K, block)
        with dispatch.device_of(out):
            _decode[(ceil_div(blocks, BLOCKS[layout]),)](
                *pointers, out, weights[0].numel(), N * K, blocks, layout, BLOCKS[layout],
                num_warps=DECODE_WARPS, enable_fp_fusion=False,
            )  # fmt: skip
        return out
    blocks_of = tile(layout, K)
    grid = (ceil_div(K, blocks_of["BK"]), ceil_div(N, blocks_of["BN"]))
    with dispatch.device_of(out):
        _merge[grid](
            pointers[0], *launching.strides(weights, layout), *pointers[1:], A, *A.stride(), B, *B.stride(),
            out, scale, A.shape[1], N, K, layout, **blocks_of, BR=power_of_two(A.shape[1], 16, 64),
            num_warps=MERGE_WARPS, enable_fp_fusion=False,
        )  # fmt: skip
    return out
