"""Launching the kernels of `dequantise`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from semi_kernels.dispatch import Specimen
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
        blocks = -(-N * K // block)
        _decode[(-(-blocks // BLOCKS[layout]),)](
            *pointers, out, weights[0].numel(), N * K, blocks, layout, BLOCKS[layout],
            num_warps=DECODE_WARPS, enable_fp_fusion=False,
        )  # fmt: skip
        return out
    blocks_of = tile(layout, K)
    grid = (-(-K // blocks_of["BK"]), -(-N // blocks_of["BN"]))
    _merge[grid](
        pointers[0], *launching.strides(weights, layout), *pointers[1:], A, *A.stride(), B, *B.stride(),
        out, scale, A.shape[1], N, K, layout, **blocks_of, BR=columns_of_rank(A.shape[1]),
        num_warps=MERGE_WARPS, enable_fp_fusion=False,
    )  # fmt: skip
    return out


def columns_of_rank(r: int) -> int:
    """How much of the rank one product takes: a power of two that a dot accepts."""
    return min(64, max(16, 1 << max(r - 1, 0).bit_length()))


def specimens() -> Iterator[Specimen]:
    """Every layout and output, decoded and merged, with and without blocks that straddle rows."""
    from semi_kernels.dequantise.kernel import _decode, _merge

    for layout in BLOCKS:
        for dtype in ("bf16", "fp16", "fp32"):
            constexprs: dict[str, Any] = {"LAYOUT": layout, "BLOCKS": BLOCKS[layout]}
            types = launching.types(layout, dtype) | {"out_ptr": f"*{dtype}"} | dict.fromkeys(constexprs, "constexpr")
            signature = {name: types.get(name, "i32") for name in _decode.arg_names}
            aligned = ("size", "entries", "blocks")
            label = f"decode {layout} {dtype}"
            yield Specimen(_decode, label, signature, constexprs, DECODE_WARPS, multiples_of_16=aligned)
    for layout in ("dense", *BLOCKS):
        for dtype, r, K in (("bf16", 32, 4096), ("fp16", 128, 4096), ("fp32", 16, 4096), ("bf16", 32, 4100)):
            if layout == "q4_1" and K % q4.BLOCK:
                continue
            constexprs = {"N": 4096, "K": K, "LAYOUT": layout, **tile(layout, K), "BR": columns_of_rank(r)}
            constexprs |= {"w_column": 1, "a_column": 1, "b_column": 1}
            types = launching.types(layout, dtype) | dict.fromkeys(("a_ptr", "b_ptr", "out_ptr"), f"*{dtype}")
            types |= {"scale": "fp32"} | dict.fromkeys(constexprs, "constexpr")
            signature = {name: types.get(name, "i32") for name in _merge.arg_names}
            aligned = ("R", "a_row", "b_row", *(("w_row",) if K % 16 == 0 else ()))
            label = f"merge {layout} {dtype} K={K} r={r}"
            yield Specimen(_merge, label, signature, constexprs, MERGE_WARPS, multiples_of_16=aligned)
