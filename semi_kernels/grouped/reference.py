"""Plain PyTorch, a product for each group. 16-bit operands are computed in float32 and rounded once, as the kernels do.

The sizes of the groups are read on the host: on a GPU that waits for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn.functional import gelu


def group_rows(rows: Tensor, G: int) -> tuple[Tensor, Tensor]:
    """rows (M,) -> order (M,), offsets (G + 1,), both int32."""
    small = rows.clamp(-1, G).to(torch.int16 if G < 1 << 15 else torch.int32)  # fewer digits to sort by
    values, order = torch.sort(small, stable=True)
    groups = torch.arange(G + 1, device=rows.device, dtype=small.dtype)
    return order.int(), torch.searchsorted(values, groups, out_int32=True)


def grouped_down(x: Tensor, A: Tensor, order: Tensor, offsets: Tensor, scale: float) -> Tensor:
    """x (M, K), A (G, K, r) -> (M, r)."""
    S = x.new_zeros(x.shape[0], A.shape[2])
    for g, index in _groups(order, offsets):
        S[index] = (scale * (_wide(x[index]) @ _wide(A[g]))).to(x.dtype)  # (rows of g, r)
    return S


def grouped_up(
    y: Tensor | None,
    S: Tensor,
    B: Tensor,
    order: Tensor,
    offsets: Tensor,
    bias: Tensor | None,
    scale: float,
    activation: str | None,
    preactivation: bool,
) -> list[Tensor]:
    """y (M, N), S (M, r), B (G, r, N), bias (G, N) -> [(M, N)], and the same before the activation."""
    out = S.new_zeros(S.shape[0], B.shape[2])
    pre = torch.zeros_like(out) if preactivation else None
    for g, index in _groups(order, offsets):
        total = scale * (_wide(S[index]) @ _wide(B[g]))  # (rows of g, N)
        if y is not None:
            total = total + _wide(y[index])
        if bias is not None:
            total = total + _wide(bias[g])
        if pre is not None:
            pre[index] = total.to(out.dtype)
        out[index] = (gelu(total, approximate="tanh") if activation else total).to(out.dtype)
    return [out] if pre is None else [out, pre]


def grouped_outer(x: Tensor, d: Tensor, order: Tensor, offsets: Tensor, column_sum: bool) -> list[Tensor]:
    """x (M, K), d (M, r) -> [(G, K, r)], and the (G, K) sums of x's columns, at least float32."""
    dtype, G = torch.promote_types(x.dtype, torch.float32), offsets.shape[0] - 1
    out = x.new_zeros(G, x.shape[1], d.shape[1], dtype=dtype)
    sums = x.new_zeros(G, x.shape[1], dtype=dtype)
    for g, index in _groups(order, offsets):
        rows = _wide(x[index])  # (rows of g, K)
        out[g] = rows.t() @ _wide(d[index])
        sums[g] = rows.sum(0)
    return [out, sums] if column_sum else [out]


def _groups(order: Tensor, offsets: Tensor) -> Iterator[tuple[int, Tensor]]:
    """(g, its rows), of the groups that have any."""
    bounds = offsets.tolist()
    for g, (start, end) in enumerate(pairwise(bounds)):
        if start < end:
            yield g, order[start:end]


def _wide(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))
