"""Linear layers of a 4-bit language model: `fused_lora` under the names people look for."""

from __future__ import annotations

from torch import Tensor

from semi_kernels.fused_lora import fused_lora
from semi_kernels.weights import NF4Weight, Q4Weight


def nf4_linear(
    x: Tensor,
    weight: NF4Weight,
    A: Tensor | None = None,
    B: Tensor | None = None,
    *,
    bias: Tensor | None = None,
    scale: float = 1.0,
) -> Tensor:
    """x W^T + scale (x A) B + bias with W (N, K) in NF4: (..., K) -> (..., N).

    Shapes, plan and gradients are those of `fused_lora`. Source: QLoRA (arXiv 2305.14314), equation 5.

    Raises:
        TypeError: a weight of another kind. As `fused_lora`.
    """
    _expect("nf4_linear", weight, NF4Weight)
    return fused_lora(x, weight, A, B, bias=bias, scale=scale)


def q4_linear(
    x: Tensor,
    weight: Q4Weight,
    A: Tensor | None = None,
    B: Tensor | None = None,
    *,
    bias: Tensor | None = None,
    scale: float = 1.0,
) -> Tensor:
    """x W^T + scale (x A) B + bias with W (N, K) in GGUF's Q4_1: (..., K) -> (..., N).

    Shapes, plan and gradients are those of `fused_lora`.

    Raises:
        TypeError: a weight of another kind. As `fused_lora`.
    """
    _expect("q4_linear", weight, Q4Weight)
    return fused_lora(x, weight, A, B, bias=bias, scale=scale)


def _expect(who: str, weight: object, kind: type) -> None:
    if not isinstance(weight, kind):
        raise TypeError(f"{who}: got a weight of {type(weight).__name__}, expected {kind.__name__}; use fused_lora")
