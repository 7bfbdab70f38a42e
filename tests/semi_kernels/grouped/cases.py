"""Operands of a case, and each product without any sorting: every row with its own adapter."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import gelu, one_hot

from semi_kernels.grouped import Groups
from tests.semi_kernels.numerics import guarded


@dataclass(frozen=True)
class Case:
    """Rows (M, K), adapters (G, K, r) and (G, r, N), and NaN behind the end of each."""

    rows: Tensor
    groups: Groups
    x: Tensor
    A: Tensor
    S: Tensor
    B: Tensor
    y: Tensor
    bias: Tensor


def case(M: int, K: int, N: int, r: int, G: int, dtype: torch.dtype, *, used: int | None = None) -> Case:
    """Random; only the first `used` groups have rows. S and y are independent of x, so each product is on its own."""
    generator = torch.Generator().manual_seed(M + 1000 * r)

    def normal(*shape: int, size: float = 1) -> Tensor:
        return guarded((torch.randn(*shape, generator=generator) * size).to(dtype))

    rows = torch.randint(0, used or G, (M,), generator=generator)
    formed = Groups.of(guarded(rows), G)
    groups = Groups(guarded(formed.order), guarded(formed.offsets))
    x, A = normal(M, K), normal(G, K, r)
    S = normal(M, r, size=r**-0.5)  # a larger sum overflows an exponential, of which the interpreter warns
    return Case(rows, groups, x, A, S, normal(G, r, N), normal(M, N), normal(G, N))


def down(x: Tensor, A: Tensor, rows: Tensor, scale: float) -> Tensor:
    """(M, r), in the dtype of x."""
    return scale * (x[:, None] @ A[rows])[:, 0]


def up(y: Tensor | None, S: Tensor, B: Tensor, bias: Tensor | None, rows: Tensor, scale: float) -> Tensor:
    """(M, N), in the dtype of S, before the activation."""
    total = scale * (S[:, None] @ B[rows])[:, 0]
    total = total if y is None else y + total
    return total if bias is None else total + bias[rows]


def outer(x: Tensor, d: Tensor, rows: Tensor, G: int) -> tuple[Tensor, Tensor]:
    """(G, K, r) and (G, K), at least float32."""
    x, d = (t.to(torch.promote_types(t.dtype, torch.float32)) for t in (x, d))
    member = one_hot(rows, G).to(x.dtype)  # (M, G)
    return torch.stack([(x * member[:, g, None]).t() @ d for g in range(G)]), member.t() @ x


def act(x: Tensor) -> Tensor:
    """GELU in its tanh form."""
    return gelu(x, approximate="tanh")
