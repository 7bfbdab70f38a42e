"""The operations as PyTorch knows them: schema, shapes without values, checks. Building blocks without gradients."""

from __future__ import annotations

import math
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, Literal, overload

import torch
from torch import Tensor

from semi_kernels import dispatch
from semi_kernels.grouped import reference

if TYPE_CHECKING:
    from semi_kernels.grouped.groups import Groups

_LIBRARY = torch.library.Library("semi_kernels", "FRAGMENT")
_ACTIVATIONS = (None, "gelu_tanh")


def grouped_down(x: Tensor, A: Tensor, groups: Groups, scale: float = 1.0) -> Tensor:
    """S[m] = scale x[m] A[g(m)]: x (M, K), A (G, K, r) -> (M, r) of x's dtype.

    Raises:
        TypeError: dtypes differ.
        ValueError: shapes or devices do not fit, or scale is not finite.
    """
    _check("grouped_down", groups, {"x": (x, ("M", "K")), "A": (A, ("G", "K", "r"))}, scale, one_dtype=(x, A))
    result: Tensor = torch.ops.semi_kernels.grouped_down(x, A, groups.order, groups.offsets, float(scale))
    return result


@overload
def grouped_up(
    y: Tensor | None,
    S: Tensor,
    B: Tensor,
    groups: Groups,
    bias: Tensor | None = ...,
    scale: float = ...,
    activation: str | None = ...,
    *,
    preactivation: Literal[False] = ...,
) -> Tensor: ...
@overload
def grouped_up(
    y: Tensor | None,
    S: Tensor,
    B: Tensor,
    groups: Groups,
    bias: Tensor | None = ...,
    scale: float = ...,
    activation: str | None = ...,
    *,
    preactivation: Literal[True],
) -> tuple[Tensor, Tensor]: ...
def grouped_up(
    y: Tensor | None,
    S: Tensor,
    B: Tensor,
    groups: Groups,
    bias: Tensor | None = None,
    scale: float = 1.0,
    activation: str | None = None,
    *,
    preactivation: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """act(y[m] + scale S[m] B[g(m)] + bias[g(m)]): S (M, r), B (G, r, N) -> (M, N) of S's dtype, rounded once.

    Args:
        y: (M, N) or None, of any floating dtype.
        bias: (G, N) or None, of any floating dtype.
        activation: None or "gelu_tanh".
        preactivation: also return what the activation was applied to, as a backward pass needs it.

    Raises:
        TypeError: the dtypes of S and B differ.
        ValueError: shapes or devices do not fit, scale is not finite, or the activation is unknown.
    """
    tensors = {"S": (S, ("M", "r")), "B": (B, ("G", "r", "N")), "y": (y, ("M", "N")), "bias": (bias, ("G", "N"))}
    _check("grouped_up", groups, tensors, scale, one_dtype=(S, B))
    if activation not in _ACTIVATIONS:
        raise ValueError(f"grouped_up: got activation {activation!r}, expected one of {_ACTIVATIONS}")
    outputs: list[Tensor] = torch.ops.semi_kernels.grouped_up(
        y, S, B, groups.order, groups.offsets, bias, float(scale), activation, preactivation
    )
    return (outputs[0], outputs[1]) if preactivation else outputs[0]


@overload
def grouped_outer(x: Tensor, d: Tensor, groups: Groups, column_sum: Literal[False] = ...) -> Tensor: ...
@overload
def grouped_outer(x: Tensor, d: Tensor, groups: Groups, column_sum: Literal[True]) -> tuple[Tensor, Tensor]: ...
def grouped_outer(x: Tensor, d: Tensor, groups: Groups, column_sum: bool = False) -> Tensor | tuple[Tensor, Tensor]:
    """out[g] = sum of x[m]^T d[m] over the rows of g: x (M, K), d (M, r) -> (G, K, r) float32; empty groups give 0.

    Args:
        column_sum: also return the (G, K) sums of x's columns.

    Raises:
        TypeError: dtypes differ.
        ValueError: shapes or devices do not fit.
    """
    _check("grouped_outer", groups, {"x": (x, ("M", "K")), "d": (d, ("M", "r"))}, 1.0, one_dtype=(x, d))
    outputs: list[Tensor] = torch.ops.semi_kernels.grouped_outer(x, d, groups.order, groups.offsets, column_sum)
    return (outputs[0], outputs[1]) if column_sum else outputs[0]


def group_rows(rows: Tensor, G: int) -> tuple[Tensor, Tensor]:
    """rows (M,) -> order (M,), offsets (G + 1,), both int32: see `Groups`."""
    order, offsets = torch.ops.semi_kernels.group_rows(rows, G)
    return order, offsets


def _check(
    name: str,
    groups: Groups,
    tensors: dict[str, tuple[Tensor | None, tuple[str, ...]]],
    scale: float,
    one_dtype: tuple[Tensor, Tensor],
) -> None:
    """Every letter one size, and all tensors where the groups are."""
    sizes = {"M": groups.order.shape[0], "G": groups.count}
    for argument, (tensor, letters) in tensors.items():
        if tensor is None:
            continue
        wanted = "(" + ", ".join(letters) + ")"
        if tensor.ndim != len(letters):
            raise ValueError(f"{name}: got {argument} of shape {tuple(tensor.shape)}, expected {wanted}")
        for letter, size in zip(letters, tensor.shape, strict=True):
            if sizes.setdefault(letter, size) != size:
                got = f"{name}: got {argument} of shape {tuple(tensor.shape)}, expected {wanted}"
                raise ValueError(f"{got} with {letter} = {sizes[letter]}")
        if tensor.device != groups.order.device:
            raise ValueError(
                f"{name}: got {argument} on {tensor.device}, expected {groups.order.device}, where the groups are"
            )
        if not tensor.is_floating_point():
            raise TypeError(f"{name}: got {argument} of {tensor.dtype}, expected a real floating point dtype")
    if one_dtype[0].dtype != one_dtype[1].dtype:
        first, second = (argument for argument, (tensor, _) in tensors.items() if any(tensor is t for t in one_dtype))
        raise TypeError(
            f"{name}: got {first} of {one_dtype[0].dtype} and {second} of {one_dtype[1].dtype}, expected one dtype; "
            "cast one of them"
        )
    if not math.isfinite(scale):
        raise ValueError(f"{name}: got scale = {scale}, expected a finite number")


@cache
def _launch() -> ModuleType:
    """Imported on first use: it needs Triton."""
    from semi_kernels.grouped import launch

    return launch


def _group_rows(rows: Tensor, G: int) -> tuple[Tensor, Tensor]:
    if not rows.is_cuda and rows.numel() and (int(rows.min()) < 0 or int(rows.max()) >= G):
        raise ValueError(
            f"Groups.of: got rows from {int(rows.min())} to {int(rows.max())}, expected 0 to {G - 1}, the adapters"
        )
    implementation = _launch() if dispatch.use_triton(rows) else reference
    result: tuple[Tensor, Tensor] = implementation.group_rows(rows, G)
    return result


def _grouped_down(x: Tensor, A: Tensor, order: Tensor, offsets: Tensor, scale: float) -> Tensor:
    implementation = _launch() if dispatch.use_triton(x, A, order) else reference
    result: Tensor = implementation.grouped_down(x, A, order, offsets, scale)
    return result


def _grouped_up(
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
    implementation = _launch() if dispatch.use_triton(y, S, B, bias, order) else reference
    result: list[Tensor] = implementation.grouped_up(y, S, B, order, offsets, bias, scale, activation, preactivation)
    return result


def _grouped_outer(x: Tensor, d: Tensor, order: Tensor, offsets: Tensor, column_sum: bool) -> list[Tensor]:
    implementation = _launch() if dispatch.use_triton(x, d, order) else reference
    result: list[Tensor] = implementation.grouped_outer(x, d, order, offsets, column_sum)
    return result


def _fake_group_rows(rows: Tensor, G: int) -> tuple[Tensor, Tensor]:
    return rows.new_empty(rows.shape[0], dtype=torch.int32), rows.new_empty(G + 1, dtype=torch.int32)


def _fake_grouped_down(x: Tensor, A: Tensor, order: Tensor, offsets: Tensor, scale: float) -> Tensor:
    return x.new_empty(x.shape[0], A.shape[2])


def _fake_grouped_up(
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
    return [S.new_empty(S.shape[0], B.shape[2]) for _ in range(1 + preactivation)]


def _fake_grouped_outer(x: Tensor, d: Tensor, order: Tensor, offsets: Tensor, column_sum: bool) -> list[Tensor]:
    dtype, G = torch.promote_types(x.dtype, torch.float32), offsets.shape[0] - 1
    out = x.new_empty(G, x.shape[1], d.shape[1], dtype=dtype)
    return [out, x.new_empty(G, x.shape[1], dtype=dtype)] if column_sum else [out]


for _schema, _implementation, _fake in (
    ("group_rows(Tensor rows, SymInt G) -> (Tensor, Tensor)", _group_rows, _fake_group_rows),
    (
        "grouped_down(Tensor x, Tensor A, Tensor order, Tensor offsets, float scale) -> Tensor",
        _grouped_down,
        _fake_grouped_down,
    ),
    (
        "grouped_up(Tensor? y, Tensor S, Tensor B, Tensor order, Tensor offsets, Tensor? bias, float scale, "
        "str? activation, bool preactivation) -> Tensor[]",
        _grouped_up,
        _fake_grouped_up,
    ),
    (
        "grouped_outer(Tensor x, Tensor d, Tensor order, Tensor offsets, bool column_sum) -> Tensor[]",
        _grouped_outer,
        _fake_grouped_outer,
    ),
):
    _name = _schema.partition("(")[0]
    _LIBRARY.define(_schema)
    _LIBRARY.impl(_name, _implementation, "CompositeExplicitAutograd")
    torch.library.register_fake(f"semi_kernels::{_name}", _fake, lib=_LIBRARY)
