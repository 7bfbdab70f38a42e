"""Shuffled coordinates with random signs."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from semi_kernels.isometry.base import Isometry, check_size


class SignedPermutation(Isometry):
    """y_j = sign_j x_{index_j}. Exact in every dtype; free in a kernel (a column index and a sign on the load)."""

    kind: ClassVar[str] = "signed_permutation"
    fusable: ClassVar[bool] = True

    def __init__(self, index: Tensor, sign: Tensor) -> None:
        super().__init__(len(index), sign.dtype)
        self.index, self.sign = index, sign  # (d,) int64, (d,) of -1 and 1
        self.inverse = torch.empty_like(index).scatter_(0, index, torch.arange(len(index), device=index.device))

    @classmethod
    def sample(
        cls,
        d: int,
        *,
        generator: torch.Generator,
        device: torch.device | str | None = None,
        dtype: torch.dtype = torch.float32,
        **options: Any,
    ) -> Self:
        """Uniform over all 2^d d! of them; see `Isometry.sample`. Takes no options."""
        if options:
            raise ValueError(f"SignedPermutation.sample: got {sorted(options)}, expected no options")
        check_size(d, dtype)
        source, target = generator.device, device or generator.device
        index = torch.randperm(d, generator=generator, device=source)
        sign = 1 - 2 * torch.randint(2, (d,), generator=generator, device=source)
        return cls(index.to(target), sign.to(device=target, dtype=dtype))

    def _operands(self) -> tuple[Tensor, ...]:
        return self.index, self.inverse, self.sign

    def _matrix(self) -> Tensor:
        dense = torch.zeros(self.d, self.d, dtype=self.sign.dtype, device=self.sign.device)
        dense[self.index, torch.arange(self.d, device=self.index.device)] = self.sign
        return dense

    def _apply(self, x: Tensor) -> Tensor:
        return x.index_select(-1, self.index.to(x.device)) * self.sign.to(x)

    def _undo(self, y: Tensor) -> Tensor:
        return (y * self.sign.to(y)).index_select(-1, self.inverse.to(y.device))
