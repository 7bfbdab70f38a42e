"""The operation as PyTorch knows it: arguments checked, schema, shape without values, gradient."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from semi_kernels import dispatch
from semi_kernels.dequantise import reference
from semi_kernels.weights import NF4Weight, Q4Weight, flatten

_LIBRARY = torch.library.Library("semi_kernels", "FRAGMENT")
_LIBRARY.define(
    "dequantise(Tensor[] weights, str layout, SymInt N, SymInt K, Tensor? A, Tensor? B, float scale, ScalarType dtype)"
    " -> Tensor"
)


def dequantise(
    weight: Tensor | NF4Weight | Q4Weight,
    A: Tensor | None = None,
    B: Tensor | None = None,
    scale: float = 1.0,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """deq(W) + scale (A B)^T, (N, K): added in float32, rounded once.

    Without an adapter, NF4 equals bitsandbytes' decoding and Q4_1 that of gguf, bit for bit, and a dense weight is only
    cast. Gradients reach A and B, not the weight.

    Args:
        weight: (N, K), packed or dense.
        A: (K, r), or None with B.
        B: (r, N).
        scale: of the adapter; finite.
        dtype: of the result; None: that of the weight.

    Raises:
        TypeError: a dtype without fractions.
        ValueError: shapes or devices do not fit, one of A and B is missing, or scale is not finite.
    """
    weights, layout, N, K = flatten(weight)
    if layout == "none":
        raise TypeError("dequantise: got no weight, expected a tensor (N, K), NF4Weight or Q4Weight")
    dtype = dtype or weight.dtype
    if not dtype.is_floating_point:
        raise TypeError(f"dequantise: got dtype {dtype}, expected a floating point dtype")
    _check_adapter(A, B, N, K, weights[0].device)
    if layout == "dense" and A is None:
        return weights[0].to(dtype)
    if A is not None and B is not None and A.dtype != B.dtype:
        common = torch.promote_types(A.dtype, B.dtype)
        A, B = A.to(common), B.to(common)
    merged: Tensor = torch.ops.semi_kernels.dequantise(
        [part.detach() for part in weights], layout, N, K, A, B, float(scale), dtype
    )
    return merged


def _check_adapter(A: Tensor | None, B: Tensor | None, N: int, K: int, device: torch.device) -> None:
    if (A is None) != (B is None):
        raise ValueError(f"dequantise: got only {'B' if A is None else 'A'}, expected A and B, or neither")
    if A is None or B is None:
        return
    for name, factor in (("A", A), ("B", B)):
        if not factor.is_floating_point():
            raise TypeError(f"dequantise: got {name} of {factor.dtype}, expected a floating point dtype")
        if factor.device != device:
            raise ValueError(f"dequantise: got {name} on {factor.device}, expected {device}, where the weight is")
    if A.ndim != 2 or B.ndim != 2 or (A.shape[0], B.shape[1]) != (K, N) or A.shape[1] != B.shape[0]:
        got = f"A {tuple(A.shape)}, B {tuple(B.shape)}"
        raise ValueError(f"dequantise: got {got}, expected A ({K}, r), B (r, {N}) for a weight ({N}, {K})")


def _dequantise(
    weights: list[Tensor],
    layout: str,
    N: int,
    K: int,
    A: Tensor | None,
    B: Tensor | None,
    scale: float,
    dtype: torch.dtype,
) -> Tensor:
    if not math.isfinite(scale):  # here and not above: a compiled caller may trace scale as a symbol
        raise ValueError(f"dequantise: got scale = {scale}, expected a finite number")
    if dtype in dispatch.DTYPES and dispatch.use_triton(*weights, A, B):
        from semi_kernels.dequantise import launch

        return launch.dequantise(weights, layout, N, K, A, B, scale, dtype)
    return reference.dequantise(weights, layout, N, K, A, B, scale, dtype)


def _fake(
    weights: list[Tensor],
    layout: str,
    N: int,
    K: int,
    A: Tensor | None,
    B: Tensor | None,
    scale: float,
    dtype: torch.dtype,
) -> Tensor:
    return weights[0].new_empty((N, K), dtype=dtype)


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *_, A, B, scale, _dtype = inputs
    ctx.parts, ctx.scale = len(inputs[0]), scale
    ctx.save_for_backward(A, B)


def _backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
    """dA = scale dW^T B^T and dB = scale A^T dW^T, dW (N, K) in the dtype of A and B."""
    A, B = ctx.saved_tensors
    dA = dB = None
    if A is not None:
        dW = gradient.to(A.dtype)
        dA = ctx.scale * (dW.T @ B.T) if ctx.needs_input_grad[4] else None
        dB = ctx.scale * (dW @ A).T if ctx.needs_input_grad[5] else None
    return [None] * ctx.parts, None, None, None, dA, dB, None, None


_LIBRARY.impl("dequantise", _dequantise, "CompositeExplicitAutograd")
torch.library.register_fake("semi_kernels::dequantise", _fake, lib=_LIBRARY)
torch.library.register_autograd("semi_kernels::dequantise", _backward, setup_context=_setup, lib=_LIBRARY)
