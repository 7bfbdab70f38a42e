"""Launching the kernels of `masked_nf4_linear`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from semi_kernels.configurations import H200, Blocks, Gpu, few_rows, gpu
from semi_kernels.dispatch import Specimen
from semi_kernels.weights import launching, nf4, q4

FEW = 128
"""Rows up to which one launch does everything: up to there, bringing weight and task vector in is what costs."""
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
    if M > FEW:
        return functional.linear(x, masked_weight(weights, layout, N, K, tau, mask, scale, x.dtype), bias)
    y = x.new_empty(M, N)
    if M == 0:
        return y
    b = blocks_for(gpu(x.device), M, N, K, layout, x.itemsize)
    pointers = launching.operands(weights, x)
    _masked_linear[(-(-N // b.BN), -(-M // b.BM))](
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
    _masked_weight[(-(-K // tile["BK"]), -(-N // tile["BN"]))](
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


def specimens() -> Iterator[Specimen]:
    """Every layout, for few and more rows, and the weight written; with and without what straddles rows."""
    for layout in ("dense", "nf4", "nf4_nested", "q4_1"):
        for dtype, tau, K in (
            ("bf16", "bf16", 4096), ("fp16", "fp16", 768), ("fp32", "fp32", 768), ("bf16", "bf16", 4100)
        ):  # fmt: skip
            if layout == "q4_1" and K % q4.BLOCK:
                continue
            for M in (16, 32, 128):
                yield _linear_specimen(layout, dtype, tau, M, 4096, K)
            yield _weight_specimen(layout, dtype, tau, 4096, K)


def _linear_specimen(layout: str, dtype: str, tau: str, M: int, N: int, K: int) -> Specimen:
    from semi_kernels.masked_linear.kernel import _masked_linear

    b = blocks_for(H200, M, N, K, layout, 4 if dtype == "fp32" else 2)
    constexprs: dict[str, Any] = {"N": N, "K": K, "LAYOUT": layout, "HAS_SCALE": True, "HAS_BIAS": True}
    constexprs |= {"BM": b.BM, "BN": b.BN, "BK": b.BK, "x_column": 1, "w_column": 1, "tau_column": 1}
    signature = _signature(_masked_linear, layout, dtype, tau, constexprs)
    label = f"masked_linear {layout} {dtype} M={M} {K}->{N}"
    return Specimen(_masked_linear, label, signature, constexprs, b.num_warps, b.num_stages, _aligned(K))


def _weight_specimen(layout: str, dtype: str, tau: str, N: int, K: int) -> Specimen:
    from semi_kernels.masked_linear.kernel import _masked_weight

    constexprs: dict[str, Any] = {"N": N, "K": K, "LAYOUT": layout, "HAS_SCALE": True, **write_tile(layout, K)}
    constexprs |= {"w_column": 1, "tau_column": 1}
    signature = _signature(_masked_weight, layout, dtype, tau, constexprs)
    label = f"masked_weight {layout} {dtype} ({N}, {K})"
    return Specimen(_masked_weight, label, signature, constexprs, WRITE_WARPS, multiples_of_16=_aligned(K))


def _aligned(K: int) -> tuple[str, ...]:
    return () if K % 16 else ("x_row", "w_row", "tau_row")


def _signature(kernel: Any, layout: str, dtype: str, tau: str, constexprs: dict[str, Any]) -> dict[str, str]:
    types = launching.types(layout, dtype) | dict.fromkeys(("x_ptr", "bias_ptr", "y_ptr", "out_ptr"), f"*{dtype}")
    types |= {"tau_ptr": f"*{tau}", "mask_ptr": "*u8", "scale_ptr": "*fp32"} | dict.fromkeys(constexprs, "constexpr")
    return {name: types.get(name, "i32") for name in kernel.arg_names}
