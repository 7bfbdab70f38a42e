"""Projector: linear, GELU, linear, each with its adapter, and its rows stored among the input embeddings of a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from semi_kernels import dispatch
from semi_kernels.fused_lora import fused_lora, plan
from semi_kernels.fused_lora.op import check, checked_indices, checked_rows, computing_dtype, stacked
from semi_kernels.isometry import Isometry
from semi_kernels.weights import Weight
from semi_kernels.weights import flatten as flatten_weight

_LIBRARY = torch.library.Library("semi_kernels", "FRAGMENT")


@dataclass(frozen=True)
class Layer:
    """A frozen linear layer with its adapter: what `fused_lora` takes.

    Attributes:
        weight: (N, K).
        bias: (N,).
        A: (G, K, r) or (K, r); None, with B, for no adapter.
        B: (G, r, N) or (r, N).
        adapter_bias: (G, N) or (N,).
        base: False leaves the path through the weight out.
    """

    weight: Weight
    bias: Tensor | None = None
    A: Tensor | None = None
    B: Tensor | None = None
    adapter_bias: Tensor | None = None
    base: bool = True


def projector_mlp(
    x: Tensor,
    first: Layer,
    second: Layer,
    *,
    rows: Tensor | None = None,
    isometry: Isometry | None = None,
    scale: float = 1.0,
    into: Tensor | None = None,
    positions: Tensor | None = None,
) -> Tensor:
    """second(gelu(first(x R))): two launches for up to 128 rows. Gradients are those of `fused_lora`.

    Source: the projector of SEMI (arXiv 2509.04606).

    Args:
        x: (M, K) or (..., K).
        first: (H, K), its width H the second's K.
        second: (N, H).
        rows: which adapter each row uses; see `fused_lora`.
        isometry: R, of x.
        scale: of both adapters' products.
        into: (..., d), contiguous: where the rows are written, in place, as M * parts rows of d = N / parts columns. A
            model's `inputs_embeds`, say.
        positions: (M, parts) or (M * parts,), which rows of `into` viewed as (-1, d); no two may be equal.

    Returns:
        (..., N), or `into`.

    Raises:
        As `fused_lora`; ValueError for positions out of range, or `into` without positions.
    """
    hidden = fused_lora(
        x, first.weight, first.A, first.B, bias=first.bias, adapter_bias=first.adapter_bias, rows=rows,
        isometry=isometry, scale=scale, activation="gelu_tanh", base=first.base,
    )  # fmt: skip
    if (into is None) != (positions is None):
        raise ValueError("projector_mlp: got only one of into and positions, expected both or none")
    if into is None or positions is None:
        return _apply(hidden, second, rows, scale)
    at = _checked_positions(into, positions, hidden.shape[:-1].numel(), flatten_weight(second.weight)[2])
    learning = torch.is_grad_enabled() and any(
        t is not None and t.requires_grad for t in (hidden, into, second.A, second.B, second.bias, second.adapter_bias)
    )
    if learning or not _storable(hidden, second, into):
        soft = _apply(hidden, second, rows, scale)
        into.view(-1, into.shape[-1]).index_copy_(0, at.reshape(-1), soft.reshape(-1, into.shape[-1]).to(into.dtype))
    else:
        _store(hidden, second, rows, scale, into, at)
    return into


def _apply(hidden: Tensor, layer: Layer, rows: Tensor | None, scale: float) -> Tensor:
    return fused_lora(
        hidden, layer.weight, layer.A, layer.B, bias=layer.bias, adapter_bias=layer.adapter_bias, rows=rows,
        scale=scale, base=layer.base,
    )  # fmt: skip


def _checked_positions(into: Tensor, positions: Tensor, M: int, N: int) -> Tensor:
    """(M, parts) int64, contiguous."""
    if into.ndim < 2 or not into.is_contiguous():
        raise ValueError(f"projector_mlp: got into of shape {tuple(into.shape)}, expected a contiguous (..., d)")
    d = into.shape[-1]
    if N % d or positions.numel() != M * (N // d):
        raise ValueError(
            f"projector_mlp: got positions of shape {tuple(positions.shape)}, expected ({M}, {N}/{d}): a row's {N} "
            f"columns are stored as rows of {d}"
        )
    checked_indices(positions, into.numel() // d, "projector_mlp", "positions", "the rows of into")
    return positions.to(torch.int64).reshape(M, N // d).contiguous()


def _storable(hidden: Tensor, layer: Layer, into: Tensor) -> bool:
    """Whether the kernel can store the rows itself."""
    _, layout, _, K = flatten_weight(layer.weight)
    rank = 0 if layer.A is None else layer.A.shape[-1]
    chosen = plan.forward(
        M=hidden.shape[:-1].numel(), K=K, rank=rank, groups=1, layout=layout, isometry="none", reflections=0,
        learning=False, kernels=dispatch.use_triton(hidden),
    )  # fmt: skip
    return chosen == "one launch" and into.dtype in dispatch.DTYPES and not torch.compiler.is_compiling()


def _store(hidden: Tensor, layer: Layer, rows: Tensor | None, scale: float, into: Tensor, at: Tensor) -> None:
    """The second layer, its rows stored where they belong: nothing is written twice."""
    parts, layout, N, K = flatten_weight(layer.weight)
    check(hidden, parts, N, K, layer.A, layer.B, layer.bias, layer.adapter_bias, None, scale, None)
    dtype = computing_dtype(hidden)
    A, B = stacked(layer.A, 3, dtype), stacked(layer.B, 3, dtype)
    adapter_bias = stacked(layer.adapter_bias, 2, dtype)
    rows = checked_rows(rows, hidden.shape[:-1], A, adapter_bias)
    if not layer.base:
        parts, layout = [], "none"
    elif layout == "dense":
        parts = [parts[0].to(dtype)]
    bias = None if layer.bias is None else layer.bias.to(dtype)
    torch.ops.semi_kernels.fused_lora_into(
        into, at, hidden.reshape(-1, K).to(dtype), parts, layout, N, A, B, bias, adapter_bias, rows, float(scale)
    )


def _fused_lora_into(
    into: Tensor, positions: Tensor, x: Tensor, weight: Sequence[Tensor], layout: str, N: int, A: Tensor | None,
    B: Tensor | None, bias: Tensor | None, adapter_bias: Tensor | None, rows: Tensor | None, scale: float,
) -> None:  # fmt: skip
    from semi_kernels.fused_lora.launch import few_rows_forward

    few_rows_forward(
        x, weight, layout, N, A, B, bias, adapter_bias, rows, [], "none", scale, "none", False,
        into.view(-1, into.shape[-1]), positions,
    )  # fmt: skip


def _fake(*_: Any) -> None:
    return None


_LIBRARY.define(
    "fused_lora_into(Tensor(a!) into, Tensor positions, Tensor x, Tensor[] weight, str layout, SymInt N, Tensor? A, "
    "Tensor? B, Tensor? bias, Tensor? adapter_bias, Tensor? rows, float scale) -> ()"
)
_LIBRARY.impl("fused_lora_into", _fused_lora_into, "CompositeExplicitAutograd")
torch.library.register_fake("semi_kernels::fused_lora_into", _fake, lib=_LIBRARY)
