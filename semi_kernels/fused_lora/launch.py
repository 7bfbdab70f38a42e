"""Launching the one-launch kernel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from semi_kernels import dispatch
from semi_kernels.configurations import few_rows, gpu
from semi_kernels.tiles import ceil_div, power_of_two
from semi_kernels.weights.launching import operands, strides
from semi_kernels.weights.nf4 import BLOCK


def few_rows_forward(
    x: Tensor,
    weights: Sequence[Tensor],
    layout: str,
    N: int,
    A: Tensor | None,
    B: Tensor | None,
    bias: Tensor | None,
    adapter_bias: Tensor | None,
    rows: Tensor | None,
    isometry: Sequence[Tensor],
    kind: str,
    scale: float,
    activation: str,
    save: bool,
    into: Tensor | None = None,
    positions: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """(M, N) after the activation, and before it where `save` asks for it (else empty).

    into (any, d) and positions (M, N // d): store the rows there instead; `into` is what is returned then.
    """
    from semi_kernels.fused_lora.kernel import _fused_lora

    M, K = x.shape
    y = x.new_empty(M, N) if into is None else into
    before = x.new_empty((M, N) if save else (0,))
    if M == 0 or N == 0:
        return y, before
    R = A.shape[2] if A is not None else 0
    V = isometry[0].shape[1] if kind == "householder" else 0
    RP, VP = power_of_two(R), power_of_two(V)
    blocks = few_rows(
        gpu(x.device), M=M, N=N, layout=layout, itemsize=x.itemsize, rank=RP + VP,
        straddling=layout in ("nf4", "nf4_nested") and K % BLOCK != 0,
    )  # fmt: skip
    grid = (ceil_div(N, blocks.BN), ceil_div(M, blocks.BM))
    scratch = x.new_empty(grid[0] * grid[1] * blocks.BM * K) if kind == "hadamard" else x
    w = operands(weights, x)
    with dispatch.device_of(x):
        _fused_lora[grid](
            x, *x.stride(),
            w[0], *strides(weights, layout), *w[1:],
            *_strided(A, 3, x), *_strided(B, 3, x),
            x if bias is None else bias, *_strided(adapter_bias, 2, x), x if rows is None else rows,
            *([*isometry, x, x][:2]), scratch,
            y, y.stride(-2), x if positions is None else positions, before, scale, M,
            N, K, R, RP, 1 if A is None else len(A), V, VP,
            len(isometry[0]) if kind == "hadamard" else 0, power_of_two(K, 1) if kind == "hadamard" else 0,
            layout, kind, activation, bias is not None, adapter_bias is not None, rows is not None, save,
            0 if positions is None else positions.shape[1],
            blocks.BM, blocks.BN, blocks.BK,
            num_warps=blocks.num_warps, num_stages=blocks.num_stages, enable_fp_fusion=False,
        )  # fmt: skip
    return y, before


def _strided(t: Tensor | None, axes: int, unused: Tensor) -> tuple[Any, ...]:
    return (unused, *[0] * axes) if t is None else (t, *t.stride())
