"""Rounds of signed permutation and block Walsh-Hadamard: strong mixing from d log d random bits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from semi_kernels.dispatch import WIDEST_MIXED
from semi_kernels.isometry.base import Isometry, check_size
from semi_kernels.isometry.signed_permutation import SignedPermutation


class Hadamard(Isometry):
    """R = P_1 H ... P_r H with signed permutations P_i and H block diagonal of normalised Walsh-Hadamard matrices.

    The blocks are the powers of two that sum to d (1536 = 1024 + 512), so every width is exactly orthogonal without
    padding; the next round's permutation carries the small blocks' coordinates into the large ones.
    """

    kind: ClassVar[str] = "hadamard"
    fusable: ClassVar[bool] = True

    def __init__(self, permutations: Sequence[SignedPermutation]) -> None:
        super().__init__(permutations[0].d, permutations[0].dtype)
        self.permutations = tuple(permutations)
        self.index = torch.stack([p.index for p in permutations])  # (rounds, d), as are the others
        self.inverse = torch.stack([p.inverse for p in permutations])
        self.sign = torch.stack([p.sign for p in permutations])
        self.blocks = [1 << bit for bit in reversed(range(self.d.bit_length())) if self.d >> bit & 1]

    @classmethod
    def sample(
        cls,
        d: int,
        *,
        generator: torch.Generator,
        device: torch.device | str | None = None,
        dtype: torch.dtype = torch.float32,
        rounds: int = 3,
        **options: Any,
    ) -> Self:
        """2 or 3 rounds are enough to look Haar to the eye of an entry; see `Isometry.sample`."""
        if options:
            raise ValueError(f"Hadamard.sample: got {sorted(options)}, expected only rounds")
        check_size(d, dtype)
        if rounds < 1:
            raise ValueError(f"Hadamard.sample: got rounds = {rounds}, expected at least 1")
        return cls(
            [SignedPermutation.sample(d, generator=generator, device=device, dtype=dtype) for _ in range(rounds)]
        )

    def _operands(self) -> tuple[Tensor, ...]:
        return (self.index, self.inverse, self.sign) if self.d <= WIDEST_MIXED else ()

    def _matrix(self) -> Tensor:
        return self.apply(torch.eye(self.d, device=self.permutations[0].sign.device, dtype=self.dtype))

    def _apply(self, x: Tensor) -> Tensor:
        for permutation in self.permutations:
            x = self._mix(permutation._apply(x))
        return x

    def _undo(self, y: Tensor) -> Tensor:
        for permutation in reversed(self.permutations):
            y = permutation._undo(self._mix(y))  # H is its own inverse
        return y

    def _mix(self, x: Tensor) -> Tensor:
        return torch.cat([_walsh_hadamard(block) for block in torch.split(x, self.blocks, dim=-1)], dim=-1)


def _walsh_hadamard(x: Tensor) -> Tensor:
    """x H, (..., b) with b = 2^n and H H = I.

    H_b = H_p (x) H_q with p q = b: two small products instead of n strided passes over memory.
    """
    b = x.shape[-1]
    bits = b.bit_length() - 1
    p, q = _sylvester(bits - bits // 2, x), _sylvester(bits // 2, x)
    mixed: Tensor = p @ x.reshape(*x.shape[:-1], len(p), len(q)) @ q  # (..., p, q)
    return mixed.flatten(-2) / math.sqrt(b)


def _sylvester(bits: int, like: Tensor) -> Tensor:
    """The (2^bits, 2^bits) matrix of +-1: entry (i, j) is the parity of the bits that i and j share."""
    index = torch.arange(1 << bits, device=like.device)
    shared = index[:, None] & index
    parity = torch.zeros_like(shared)
    for bit in range(bits):
        parity ^= shared >> bit & 1
    return (1 - 2 * parity).to(like.dtype)
