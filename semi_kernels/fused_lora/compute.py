"""Forward and backward of `fused_lora`, by the plan for their number of rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn import functional

from semi_kernels import dispatch
from semi_kernels.dequantise import dequantise
from semi_kernels.fused_lora import plan, reference
from semi_kernels.fused_lora.isometries import restore
from semi_kernels.grouped import Groups, grouped_down, grouped_outer, grouped_up
from semi_kernels.weights import unflatten

T = TypeVar("T")


def forward(
    x: Tensor,
    weight: Sequence[Tensor],
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
    learning: bool,
) -> tuple[Tensor, Tensor]:
    """(M, N), and what the activation was applied to where a gradient will need it (else empty)."""
    save = learning and activation != "none"
    kernels = dispatch.use_triton(x, *weight[:1], A, rows) if layout == "dense" else dispatch.use_triton(x, A, rows)
    chosen = plan.forward(
        M=len(x), K=x.shape[1], rank=0 if A is None else A.shape[2], groups=1 if rows is None else 2, layout=layout,
        isometry=kind, reflections=isometry[0].shape[1] if kind == "householder" else 0, learning=learning,
        kernels=kernels,
    )  # fmt: skip
    if chosen == "one launch":
        from semi_kernels.fused_lora.launch import few_rows_forward

        return few_rows_forward(
            x, weight, layout, N, A, B, bias, adapter_bias, rows, isometry, kind, scale, activation, save
        )
    x = _turned(x, isometry, kind)
    if chosen in ("reference", "add") or len(x) == 0:
        W = _dense(weight, layout, N, x)
        y, before = reference.forward(x, W, A, B, bias, adapter_bias, rows, scale, activation)
    elif chosen == "merge":
        merged = _dense(weight, layout, N, x, *_first(A, B), scale)
        before = functional.linear(x, _present(merged), _sum(bias, adapter_bias))
        y = reference.activate(before, activation)
    else:
        G = _present(A if A is not None else adapter_bias).shape[0]
        y, before = _grouped(
            x, _dense(weight, layout, N, x), A, B, bias, adapter_bias, Groups.of(_present(rows), G), scale, activation
        )
    return y, before if save else x.new_empty(0)


def backward(
    grad: Tensor,
    x: Tensor,
    before: Tensor,
    weight: Sequence[Tensor],
    layout: str,
    N: int,
    A: Tensor | None,
    B: Tensor | None,
    rows: Tensor | None,
    isometry: Sequence[Tensor],
    kind: str,
    scale: float,
    activation: str,
    needs: Sequence[bool],
    G: int,
) -> list[Tensor]:
    """Gradients by x, A, B, bias, adapter_bias; empty where none is needed. Without an adapter x may have no rows.

    dS = scale dY B^T, dx = (dY W + dS A^T) R^T, dA = (x R)^T dS, dB = scale S^T dY. GELU' is taken once: three
    consumers that each fused it would read the two tensors three times, which is the same traffic.
    """
    needs_x, needs_A, needs_B, needs_bias, needs_adapter_bias = needs
    if activation != "none":
        grad = torch.ops.aten.gelu_backward(grad, before, approximate="tanh")
    groups = None if rows is None or len(grad) == 0 else Groups.of(rows, G)
    dx = dA = dB = dbias = dadapter_bias = x.new_empty(0)
    dS = None
    if A is not None and B is not None:
        turned = _turned(x, isometry, kind) if needs_A or needs_B else x
        if needs_A or needs_x:
            dS = _down(grad, B.transpose(1, 2), groups, scale)
        if needs_A and dS is not None:
            dA = _outer(turned, dS, groups, G)
        if needs_B:
            dB = _outer(grad, _down(turned, A, groups, scale), groups, G).transpose(1, 2).contiguous()
    if needs_x:
        W = _dense(weight, layout, N, x)
        dx = grad @ W if W is not None else grad.new_zeros(len(grad), x.shape[1])
        if dS is not None and A is not None:
            dx = _up(dx, dS, A.transpose(1, 2), groups)
        R = restore(isometry, kind)
        dx = dx if R is None else R.undo(dx)
    if needs_bias:
        dbias = _column_sum(grad)
    if needs_adapter_bias:
        if rows is None:
            dadapter_bias = (dbias if needs_bias else _column_sum(grad)).clone()[None]
        else:
            dadapter_bias = _outer(grad, grad.new_ones(len(grad), 1), groups, G)[..., 0].contiguous()
    return [dx, dA, dB, dbias, dadapter_bias]


def _turned(x: Tensor, isometry: Sequence[Tensor], kind: str) -> Tensor:
    R = restore(isometry, kind)
    return x if R is None else R.apply(x)


def _dense(
    weight: Sequence[Tensor],
    layout: str,
    N: int,
    x: Tensor,
    A: Tensor | None = None,
    B: Tensor | None = None,
    scale: float = 1.0,
) -> Tensor | None:
    """The weight (N, K) in x's dtype; a 4-bit one with scale (A B)^T added before it is rounded."""
    if layout == "dense":
        return weight[0]
    stored = unflatten(weight, layout, N, x.shape[1])
    return None if stored is None else dequantise(stored, A, B, scale, x.dtype)


def _grouped(
    x: Tensor,
    W: Tensor | None,
    A: Tensor | None,
    B: Tensor | None,
    bias: Tensor | None,
    adapter_bias: Tensor | None,
    groups: Groups,
    scale: float,
    activation: str,
) -> tuple[Tensor, Tensor]:
    """One GEMM for all rows, then each row's own adapter, bias and activation in a pass over the result."""
    given = _present(B if B is not None else adapter_bias)
    y = x.new_zeros(len(x), given.shape[-1]) if W is None else functional.linear(x, W, bias)
    if W is None and bias is not None:
        y += bias
    if A is None or B is None:  # biases only: an adapter of rank one and zeros
        A = x.new_zeros(groups.count, x.shape[1], 1)
        B = x.new_zeros(groups.count, 1, given.shape[-1])
    s = grouped_down(x, A, groups)
    after, before = grouped_up(
        y, s, B, groups, adapter_bias, scale, None if activation == "none" else activation, preactivation=True
    )
    return after, before


def _down(x: Tensor, A: Tensor, groups: Groups | None, scale: float) -> Tensor:
    """scale x A_g, (M, r)."""
    if groups is None:
        return (x @ A[0]) * scale
    return grouped_down(x, A, groups, scale)


def _up(y: Tensor, s: Tensor, B: Tensor, groups: Groups | None) -> Tensor:
    """y + s B_g, (M, N)."""
    if groups is None:
        return torch.addmm(y, s, B[0])
    return grouped_up(y, s, B, groups)


def _outer(x: Tensor, d: Tensor, groups: Groups | None, G: int) -> Tensor:
    """Sums of x[m]^T d[m] over the rows of each adapter, (G, K, r)."""
    if groups is not None:
        return grouped_outer(x, d, groups).to(x.dtype)
    if G > 1:  # no rows at all
        return x.new_zeros(G, x.shape[1], d.shape[1])
    return (x.T @ d)[None]


def _column_sum(x: Tensor) -> Tensor:
    """(N,), summed in float32 at least."""
    return x.sum(0, dtype=torch.promote_types(x.dtype, torch.float32)).to(x.dtype)


def _sum(bias: Tensor | None, adapter_bias: Tensor | None) -> Tensor | None:
    if bias is None or adapter_bias is None:
        return bias if adapter_bias is None else adapter_bias[0]
    return bias + adapter_bias[0]


def _first(A: Tensor | None, B: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
    return (None if A is None else A[0]), (None if B is None else B[0])


def _present(value: T | None) -> T:
    if value is None:
        raise ValueError("fused_lora: got nothing where the plan needs a tensor")
    return value
