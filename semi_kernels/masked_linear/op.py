"""`masked_nf4_linear` as PyTorch knows it: checks, schemas, shapes without values, gradients."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from semi_kernels import dispatch
from semi_kernels.fused_lora.op import computing_dtype
from semi_kernels.masked_linear import reference
from semi_kernels.masked_linear.bits import check_mask
from semi_kernels.weights import Weight, flatten

_LIBRARY = torch.library.Library("semi_kernels", "FRAGMENT")


def masked_nf4_linear(
    x: Tensor,
    weight: Weight,
    tau: Tensor,
    mask: Tensor,
    *,
    bias: Tensor | None = None,
    scale: Tensor | None = None,
) -> Tensor:
    """x (deq(W0) + m * scale * tau)^T + bias: a layer of a decoupled merge, one launch for up to 128 rows.

    Computed in x's dtype (under autocast, in its dtype) with float32 sums. Weight and step are added in float32 and
    rounded once. Gradients reach x and bias; the rest is frozen. Source: decoupling of MMER (arXiv 2505.17110).

    Args:
        x: (..., K), any number of rows.
        weight: W0 (N, K), an NF4Weight, a Q4Weight or a tensor.
        tau: the task vector that all modalities share, (N, K) of a floating dtype.
        mask: a modality's own entries of it, packed by `pack_mask`: uint8 (ceil(N K / 8),).
        bias: (N,).
        scale: a factor for each row of tau, (N,).

    Returns:
        (..., N), of the dtype computed in.

    Raises:
        TypeError: a dtype. ValueError: a shape, a device, or a gradient asked of what is frozen.
    """
    parts, layout, N, K = flatten(weight)
    _check(x, parts, layout, N, K, tau, mask, bias, scale)
    dtype = computing_dtype(x)
    rows = x.reshape(-1, K).to(dtype)
    bias = bias if bias is None else bias.to(dtype)
    y: Tensor = torch.ops.semi_kernels.masked_linear(rows, parts, layout, N, tau, mask.contiguous(), scale, bias)
    return y.reshape(*x.shape[:-1], N)


def _check(
    x: Tensor,
    parts: list[Tensor],
    layout: str,
    N: int,
    K: int,
    tau: Tensor,
    mask: Tensor,
    bias: Tensor | None,
    scale: Tensor | None,
) -> None:
    who = "masked_nf4_linear"
    if layout == "none":
        raise TypeError(f"{who}: got no weight, expected a tensor (N, K), NF4Weight or Q4Weight")
    if x.ndim == 0 or x.shape[-1] != K:
        raise ValueError(f"{who}: got x of shape {tuple(x.shape)}, expected (..., {K}) for a weight ({N}, {K})")
    for name, tensor, shape in (("tau", tau, (N, K)), ("bias", bias, (N,)), ("scale", scale, (N,))):
        if tensor is not None and tuple(tensor.shape) != shape:
            raise ValueError(f"{who}: got {name} of shape {tuple(tensor.shape)}, expected {shape}")
    for name, tensor in (("x", x), ("tau", tau), ("bias", bias), ("scale", scale)):
        if tensor is not None and not tensor.is_floating_point():
            raise TypeError(f"{who}: got {name} of {tensor.dtype}, expected a real floating dtype")
    check_mask(who, mask, N * K)
    others = (("weight", parts[0]), ("tau", tau), ("mask", mask), ("bias", bias), ("scale", scale))
    for name, tensor in others:
        if tensor is not None and tensor.device != x.device:
            raise ValueError(f"{who}: got {name} on {tensor.device}, expected {x.device}, the device of x")
    if torch.is_grad_enabled():
        for name, tensor in (("weight", parts[0]), ("tau", tau), ("scale", scale)):
            if tensor is not None and tensor.requires_grad:
                raise ValueError(f"{who}: got a {name} that requires a gradient, expected a frozen one; detach it")


def _masked_linear(
    x: Tensor,
    weights: list[Tensor],
    layout: str,
    N: int,
    tau: Tensor,
    mask: Tensor,
    scale: Tensor | None,
    bias: Tensor | None,
) -> Tensor:
    if dispatch.use_triton(x, *weights, tau, mask, scale, bias):
        from semi_kernels.masked_linear import launch

        return launch.masked_linear(x, weights, layout, N, tau, mask, scale, bias)
    return reference.masked_linear(x, weights, layout, N, tau, mask, scale, bias)


def _masked_weight(
    weights: list[Tensor],
    layout: str,
    N: int,
    K: int,
    tau: Tensor,
    mask: Tensor,
    scale: Tensor | None,
    dtype: torch.dtype,
) -> Tensor:
    if dtype in dispatch.DTYPES and dispatch.use_triton(*weights, tau, mask, scale):
        from semi_kernels.masked_linear import launch

        return launch.masked_weight(weights, layout, N, K, tau, mask, scale, dtype)
    return reference.masked_weight(weights, layout, N, K, tau, mask, scale, dtype)


def _fake_linear(
    x: Tensor, weights: Any, layout: str, N: int, tau: Tensor, mask: Tensor, scale: Any, bias: Any
) -> Tensor:
    return x.new_empty(x.shape[0], N)


def _fake_weight(
    weights: Any, layout: str, N: int, K: int, tau: Tensor, mask: Tensor, scale: Any, dtype: torch.dtype
) -> Tensor:
    return tau.new_empty((N, K), dtype=dtype)


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    _, weights, layout, N, tau, mask, scale, _ = inputs
    ctx.save_for_backward(tau, mask, scale, *weights)
    ctx.layout, ctx.N = layout, N


def _backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
    """dx = dy (deq(W0) + m * scale * tau), the weight written for it: this product is what costs."""
    tau, mask, scale, *weights = ctx.saved_tensors
    dx = dbias = None
    if ctx.needs_input_grad[0]:
        W = torch.ops.semi_kernels.masked_weight(
            weights, ctx.layout, ctx.N, tau.shape[1], tau, mask, scale, gradient.dtype
        )
        dx = gradient @ W
    if ctx.needs_input_grad[7]:
        dbias = gradient.sum(0)
    return dx, [None] * len(weights), None, None, None, None, None, dbias


_LIBRARY.define(
    "masked_linear(Tensor x, Tensor[] weights, str layout, SymInt N, Tensor tau, Tensor mask, Tensor? scale, "
    "Tensor? bias) -> Tensor"
)
_LIBRARY.define(
    "masked_weight(Tensor[] weights, str layout, SymInt N, SymInt K, Tensor tau, Tensor mask, Tensor? scale, "
    "ScalarType dtype) -> Tensor"
)
_LIBRARY.impl("masked_linear", _masked_linear, "CompositeExplicitAutograd")
_LIBRARY.impl("masked_weight", _masked_weight, "CompositeExplicitAutograd")
torch.library.register_fake("semi_kernels::masked_linear", _fake_linear, lib=_LIBRARY)
torch.library.register_fake("semi_kernels::masked_weight", _fake_weight, lib=_LIBRARY)
torch.library.register_autograd("semi_kernels::masked_linear", _backward, setup_context=_setup, lib=_LIBRARY)
