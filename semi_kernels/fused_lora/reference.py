"""What `fused_lora` computes, in plain PyTorch: the same function on every device and in every dtype."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def forward(
    x: Tensor,  # (M, K), isometry applied
    weight: Tensor | None,  # (N, K)
    A: Tensor | None,  # (G, K, r)
    B: Tensor | None,  # (G, r, N)
    bias: Tensor | None,  # (N,)
    adapter_bias: Tensor | None,  # (G, N)
    rows: Tensor | None,  # (M,)
    scale: float,
    activation: str,
) -> tuple[Tensor, Tensor]:
    """(M, N) after the activation and before it."""
    shared = _sum(bias, adapter_bias[0]) if adapter_bias is not None and rows is None else bias
    if weight is not None:
        y = functional.linear(x, weight, shared)
    else:
        N = next(t.shape[-1] for t in (B, adapter_bias, bias) if t is not None)
        y = x.new_zeros(len(x), N) if shared is None else shared.expand(len(x), N).clone()
    if A is not None and B is not None:
        if rows is None:
            y.addmm_(x @ A[0], B[0], alpha=scale)
        else:
            y += scale * low_rank(x, A, B, rows)
    if adapter_bias is not None and rows is not None:
        y += adapter_bias[rows]
    return activate(y, activation), y


def low_rank(x: Tensor, A: Tensor, B: Tensor, rows: Tensor) -> Tensor:
    """(x A_g) B_g, (M, N)."""
    y = x.new_zeros(len(x), B.shape[-1])
    for g in range(len(A)):
        members = (rows == g).nonzero().squeeze(1)
        y.index_copy_(0, members, (x[members] @ A[g]) @ B[g])
    return y


def activate(y: Tensor, activation: str) -> Tensor:
    """gelu_tanh, or y itself."""
    return functional.gelu(y, approximate="tanh") if activation == "gelu_tanh" else y


def _sum(bias: Tensor | None, adapter_bias: Tensor) -> Tensor:
    return adapter_bias if bias is None else bias + adapter_bias
