"""`fused_lora` as PyTorch knows it: checks, schema, shapes without values, gradients."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from semi_kernels.fused_lora import compute
from semi_kernels.fused_lora.isometries import flatten as flatten_isometry
from semi_kernels.isometry import Isometry
from semi_kernels.weights import Weight
from semi_kernels.weights import flatten as flatten_weight

ACTIVATIONS = (None, "gelu_tanh")
_LIBRARY = torch.library.Library("semi_kernels", "FRAGMENT")
_NAME = "semi_kernels::fused_lora"


def fused_lora(
    x: Tensor,
    weight: Weight,
    A: Tensor | None = None,
    B: Tensor | None = None,
    *,
    bias: Tensor | None = None,
    adapter_bias: Tensor | None = None,
    rows: Tensor | None = None,
    isometry: Isometry | None = None,
    scale: float = 1.0,
    activation: str | None = None,
    base: bool = True,
) -> Tensor:
    """act(x R W^T + scale (x R) A_g B_g + bias + adapter_bias_g) with g = rows[m], in one launch for up to 128 rows.

    Everything is computed in x's dtype (under autocast, in its dtype) with float32 sums; other floating tensors are
    cast to it. W and R are frozen: gradients reach x, A, B, bias and adapter_bias. Source: LoRA (arXiv 2106.09685).

    Args:
        x: (M, K) or (..., K), any M >= 0.
        weight: (N, K), a tensor, NF4Weight or Q4Weight.
        A: (G, K, r) or (K, r); None, with B, for a layer without an adapter.
        B: (G, r, N) or (r, N).
        bias: (N,).
        adapter_bias: (G, N) or (N,).
        rows: (M,) or x's leading shape, integers 0 to G - 1; needed where G > 1.
        isometry: R (K, K), one of `semi_kernels.isometry`. Haar takes a launch of its own.
        scale: of the adapter's product.
        activation: None or "gelu_tanh".
        base: False leaves x R W^T out.

    Returns:
        (M, N) or (..., N), of the dtype computed in.

    Raises:
        TypeError: a dtype or a kind of weight. ValueError: a shape, a device, A without B, rows out of range, an
            unknown activation, a scale that is not finite, a weight that is not frozen.
    """
    parts, layout, N, K = flatten_weight(weight)
    check(x, parts, N, K, A, B, bias, adapter_bias, isometry, scale, activation)
    if isinstance(weight, Tensor) and weight.requires_grad and torch.is_grad_enabled():
        raise ValueError("fused_lora: got a weight that requires a gradient, expected a frozen one; it gets none here")
    dtype = computing_dtype(x)
    if isometry is not None and not isometry.fusable:
        x, isometry = isometry.apply(x), None
    leading = x.shape[:-1]
    x = x.reshape(-1, K).to(dtype)
    A, B, adapter_bias = stacked(A, 3, dtype), stacked(B, 3, dtype), stacked(adapter_bias, 2, dtype)
    bias = bias if bias is None else bias.to(dtype)
    rows = checked_rows(rows, leading, A, adapter_bias)
    if not base:
        parts, layout = [], "none"
    elif layout == "dense":
        parts = [parts[0].to(dtype)]
    tensors, kind = flatten_isometry(isometry, x)
    learning = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in (x, A, B, bias, adapter_bias))
    y, _ = torch.ops.semi_kernels.fused_lora(
        x, parts, layout, N, A, B, bias, adapter_bias, rows, tensors, kind, float(scale), activation or "none", learning
    )
    result: Tensor = y.reshape(*leading, N)
    return result


def computing_dtype(x: Tensor) -> torch.dtype:
    """The one cast rule: autocast's dtype where it is on, else that of x."""
    if torch.is_autocast_enabled(x.device.type):
        return torch.get_autocast_dtype(x.device.type)
    return x.dtype


def stacked(t: Tensor | None, axes: int, dtype: torch.dtype) -> Tensor | None:
    """With the leading axis of adapters, in `dtype`."""
    if t is None:
        return None
    return (t if t.ndim == axes else t[None]).to(dtype)


def check(
    x: Tensor,
    parts: list[Tensor],
    N: int,
    K: int,
    A: Tensor | None,
    B: Tensor | None,
    bias: Tensor | None,
    adapter_bias: Tensor | None,
    isometry: Isometry | None,
    scale: float,
    activation: str | None,
) -> None:
    """Refuse what does not fit together, before anything is launched."""
    who = "fused_lora"
    if (A is None) != (B is None):
        raise ValueError(f"{who}: got {'A without B' if B is None else 'B without A'}, expected both or none")
    if not -math.inf < scale < math.inf:  # NaN is not; math.isfinite cannot be traced
        raise ValueError(f"{who}: got scale = {scale}, expected a finite number")
    if activation not in ACTIVATIONS:
        raise ValueError(f"{who}: got activation = {activation!r}, expected one of {ACTIVATIONS}")
    if isometry is not None and isometry.d != K:
        raise ValueError(f"{who}: got an isometry of width {isometry.d}, expected {K}, the columns of the weight")
    G = A.shape[0] if A is not None and A.ndim == 3 else 1
    if A is None and adapter_bias is not None and adapter_bias.ndim == 2:
        G = adapter_bias.shape[0]
    r = A.shape[-1] if A is not None and A.ndim else 0
    expected: list[tuple[str, Tensor | None, list[tuple[int, ...]]]] = [
        ("A", A, [(G, K, r), (K, r)]),
        ("B", B, [(G, r, N), (r, N)]),
        ("bias", bias, [(N,)]),
        ("adapter_bias", adapter_bias, [(G, N), (N,)]),
    ]
    if x.ndim == 0 or x.shape[-1] != K:
        raise ValueError(f"{who}: got x of shape {tuple(x.shape)}, expected (..., {K}) for a weight ({N}, {K})")
    for name, tensor, shapes in expected:
        if tensor is not None and (tuple(tensor.shape) not in shapes or (tensor.ndim < len(shapes[0]) and G > 1)):
            allowed = " or ".join(map(str, shapes if G == 1 else shapes[:1]))
            raise ValueError(f"{who}: got {name} of shape {tuple(tensor.shape)}, expected {allowed}")
    for name, tensor in [("x", x), *((name, tensor) for name, tensor, _ in expected)]:
        if tensor is not None and not tensor.is_floating_point():
            raise TypeError(f"{who}: got {name} of {tensor.dtype}, expected a real floating dtype")
        if tensor is not None and tensor.device != x.device:
            raise ValueError(f"{who}: got {name} on {tensor.device}, expected {x.device}, the device of x")
    if parts and parts[0].device != x.device:
        raise ValueError(f"{who}: got a weight on {parts[0].device}, expected {x.device}, the device of x")


def checked_rows(
    rows: Tensor | None, leading: torch.Size, A: Tensor | None, adapter_bias: Tensor | None
) -> Tensor | None:
    """rows (M,), None where there is one adapter or none."""
    given = A if A is not None else adapter_bias
    G = 1 if given is None else given.shape[0]
    if rows is None:
        if G > 1:
            raise ValueError(f"fused_lora: got no rows, expected an adapter's number for each row: there are {G}")
        return None
    if given is not None and rows.device != given.device:
        raise ValueError(f"fused_lora: got rows on {rows.device}, expected {given.device}, the device of x")
    if rows.numel() != leading.numel():
        raise ValueError(f"fused_lora: got rows of shape {tuple(rows.shape)}, expected {tuple(leading)} or flat")
    checked_indices(rows, G, "fused_lora", "rows", "the adapters")
    return rows.reshape(-1).contiguous() if G > 1 else None


def checked_indices(indices: Tensor, count: int, who: str, name: str, of: str) -> None:
    """Integers from 0 to count - 1.

    On a GPU, looking at them waits for it. So that is done once for each content of a tensor, and not while a graph is
    recorded or a program traced. An inference tensor does not tell when its content changes: it is looked at each time.
    """
    if indices.is_floating_point() or indices.dtype == torch.bool:
        raise TypeError(f"{who}: got {name} of {indices.dtype}, expected an integer dtype")
    if torch.compiler.is_compiling() or (indices.is_cuda and torch.cuda.is_current_stream_capturing()):
        return
    seen = None if indices.is_inference() else (indices._version, count)
    if indices.numel() and (seen is None or getattr(indices, "_semi_checked", None) != seen):
        least, most = int(indices.min()), int(indices.max())
        if least < 0 or most >= count:
            raise ValueError(f"{who}: got {name} from {least} to {most}, expected 0 to {count - 1}, {of}")
        indices._semi_checked = seen  # type: ignore[attr-defined]


def _setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    x, parts, layout, N, A, B, _, _, rows, isometry, kind, scale, activation, _ = inputs
    # Without an adapter only the width of x matters: the activations of a whole language model need not be kept.
    kept = x if A is not None else x.new_empty(0, x.shape[1])
    ctx.save_for_backward(kept, A, B, rows, output[1], *parts, *isometry)
    ctx.static = (layout, N, kind, scale, activation, len(parts), len(isometry))
    ctx.set_materialize_grads(False)


def _backward(ctx: Any, grad: Tensor | None, _: Tensor | None) -> tuple[Any, ...]:
    layout, N, kind, scale, activation, n_parts, n_isometry = ctx.static
    frozen: tuple[Any, ...] = ([None] * n_parts, [None] * n_isometry)
    if grad is None:
        return None, frozen[0], *[None] * 7, frozen[1], *[None] * 4
    x, A, B, rows, before, *rest = ctx.saved_tensors
    needs = [ctx.needs_input_grad[i] for i in (0, 4, 5, 6, 7)]
    dx, dA, dB, dbias, dadapter_bias = torch.ops.semi_kernels.fused_lora_backward(
        grad, x, before, rest[:n_parts], layout, N, A, B, rows, rest[n_parts:], kind, scale, activation,
        [bool(need) for need in needs], 1 if A is None else A.shape[0],
    )  # fmt: skip
    x_, A_, B_, bias_, adapter_ = (
        g if need else None for g, need in zip((dx, dA, dB, dbias, dadapter_bias), needs, strict=True)
    )
    return x_, frozen[0], None, None, A_, B_, bias_, adapter_, None, frozen[1], None, None, None, None


def _fake(
    x: Tensor, parts: Any, layout: str, N: int, A: Any, B: Any, bias: Any, adapter_bias: Any, rows: Any,
    isometry: Any, kind: str, scale: float, activation: str, learning: bool,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    before = (x.shape[0], N) if learning and activation != "none" else (0,)
    return x.new_empty(x.shape[0], N), x.new_empty(before)


def _fake_backward(
    grad: Tensor, x: Tensor, before: Tensor, parts: Any, layout: str, N: int, A: Any, B: Any, rows: Any,
    isometry: Any, kind: str, scale: float, activation: str, needs: list[bool], G: int,
) -> list[Tensor]:  # fmt: skip
    full = [(grad.shape[0], x.shape[1]), *(() if t is None else t.shape for t in (A, B)), (N,), (G, N)]
    return [x.new_empty(shape if need else (0,)) for shape, need in zip(full, needs, strict=True)]


_LIBRARY.define(
    "fused_lora(Tensor x, Tensor[] weight, str layout, SymInt N, Tensor? A, Tensor? B, Tensor? bias, "
    "Tensor? adapter_bias, Tensor? rows, Tensor[] isometry, str kind, float scale, str activation, bool learning) "
    "-> (Tensor, Tensor)"
)
_LIBRARY.define(
    "fused_lora_backward(Tensor grad, Tensor x, Tensor before, Tensor[] weight, str layout, SymInt N, Tensor? A, "
    "Tensor? B, Tensor? rows, Tensor[] isometry, str kind, float scale, str activation, bool[] needs, SymInt G) "
    "-> Tensor[]"
)
_LIBRARY.impl("fused_lora", compute.forward, "CompositeExplicitAutograd")
_LIBRARY.impl("fused_lora_backward", compute.backward, "CompositeExplicitAutograd")
torch.library.register_fake(_NAME, _fake, lib=_LIBRARY)
torch.library.register_fake(f"{_NAME}_backward", _fake_backward, lib=_LIBRARY)
torch.library.register_autograd(_NAME, _backward, setup_context=_setup, lib=_LIBRARY)
