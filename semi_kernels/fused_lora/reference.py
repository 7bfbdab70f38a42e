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
    N = weight.shape[0] if weight is not None else _columns(B, adapter_bias)
    y = functional.linear(x, weight, bias) if weight is not None else x.new_zeros(len(x), N)
    if weight is None and bias is not None:
        y = y + bias
    if A is not None and B is not None:
        y = y + scale * low_rank(x, A, B, rows)
    if adapter_bias is not None:
        y = y + (adapter_bias[0] if rows is None else adapter_bias[rows])
    return activate(y, activation), y


def low_rank(x: Tensor, A: Tensor, B: Tensor, rows: Tensor | None) -> Tensor:
    """(x A_g) B_g, (M, N)."""
    if rows is None:
        return (x @ A[0]) @ B[0]
    y = x.new_zeros(len(x), B.shape[-1])
    for g in range(len(A)):
        members = (rows == g).nonzero().squeeze(1)
        y.index_copy_(0, members, (x[members] @ A[g]) @ B[g])
    return y


def activate(y: Tensor, activation: str) -> Tensor:
    """gelu_tanh, or y itself."""
    return functional.gelu(y, approximate="tanh") if activation == "gelu_tanh" else y


def _columns(B: Tensor | None, adapter_bias: Tensor | None) -> int:
    given = B if B is not None else adapter_bias
    if given is None:
        raise ValueError("fused_lora: got no weight and no adapter, expected at least one")
    return given.shape[-1]
