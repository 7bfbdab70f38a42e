"""The operations as PyTorch knows them: schema, shape without values, gradient. `Isometry` chooses when to call them.

Each takes its isometry as tensors and turns the rows of x (..., d): `undo` chooses the inverse, which for an
orthogonal map is also the gradient, and so the gradient's gradient is the map again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

_LIBRARY = torch.library.Library("semi_kernels", "FRAGMENT")
_PERMUTED = "Tensor index, Tensor inverse, Tensor sign"
_OPERANDS = {"signed_permutation": _PERMUTED, "hadamard": _PERMUTED, "householder": "Tensor v, Tensor t"}


def turn(kind: str, x: Tensor, operands: tuple[Tensor, ...], undo: bool) -> Tensor:
    """x R, or x R^T to undo it, by the kernel of a kind: gradients reach x, not the isometry."""
    turned: Tensor = getattr(torch.ops.semi_kernels, kind)(x, *operands, undo)
    return turned


def _register(kind: str) -> None:
    def launched(x: Tensor, *arguments: Any) -> Tensor:
        from semi_kernels.isometry import launch

        run: Callable[..., Tensor] = getattr(launch, kind)
        return run(x, *arguments)

    def fake(x: Tensor, *arguments: Any) -> Tensor:
        return x.new_empty(x.shape)

    def remember(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        _, *operands, ctx.undo = inputs
        ctx.save_for_backward(*operands)

    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        operands = ctx.saved_tensors
        return turn(kind, gradient, operands, not ctx.undo), *[None] * len(operands), None

    _LIBRARY.define(f"{kind}(Tensor x, {_OPERANDS[kind]}, bool undo) -> Tensor")
    _LIBRARY.impl(kind, launched, "CompositeExplicitAutograd")
    torch.library.register_fake(f"semi_kernels::{kind}", fake, lib=_LIBRARY)
    torch.library.register_autograd(f"semi_kernels::{kind}", backward, setup_context=remember, lib=_LIBRARY)


for _kind in _OPERANDS:
    _register(_kind)
