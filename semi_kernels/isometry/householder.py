"""A product of a few random reflections."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from semi_kernels.dispatch import MOST_REFLECTIONS
from semi_kernels.isometry.base import Isometry, at_least_32_bits, check_size


class Householder(Isometry):
    """R = H_1 ... H_k with H_j = I - 2 v_j v_j^T / |v_j|^2, in compact WY form R = I - V T V^T; determinant (-1)^k.

    Costs 4 k d flops a row and moves only a k-dimensional subspace: k is the augmentation's strength.
    Source: Schreiber and Van Loan 1989.

    Args:
        v: the directions (d, k), of any length.
        dtype: of `matrix()`; None: that of v.
        t: T (k, k), where it is at hand already.
    """

    kind: ClassVar[str] = "householder"
    fusable: ClassVar[bool] = True

    def __init__(self, v: Tensor, dtype: torch.dtype | None = None, *, t: Tensor | None = None) -> None:
        super().__init__(v.shape[0], dtype or v.dtype)
        self.v, self.t = v, _compact_wy(v) if t is None else t  # (d, k), upper triangular (k, k)
        self._vt: Tensor | None = None

    @classmethod
    def sample(
        cls,
        d: int,
        *,
        generator: torch.Generator,
        device: torch.device | str | None = None,
        dtype: torch.dtype = torch.float32,
        k: int = 8,
        **options: Any,
    ) -> Self:
        """k reflections (1 <= k <= d) along uniform directions; see `Isometry.sample`."""
        if options:
            raise ValueError(f"Householder.sample: got {sorted(options)}, expected only k")
        check_size(d, dtype)
        if not 1 <= k <= d:
            raise ValueError(f"Householder.sample: got k = {k}, expected 1 <= k <= d = {d}")
        directions = torch.randn(d, k, generator=generator, device=generator.device, dtype=torch.float64)
        unit = directions / directions.norm(dim=0)
        return cls(unit.to(device=device or generator.device, dtype=at_least_32_bits(dtype)), dtype)

    @property
    def vt(self) -> Tensor:
        """V T (d, k), kept once it was asked for: R = I - (V T) V^T is two products with x."""
        if self._vt is None:
            with torch.no_grad():
                self._vt = self.v @ self.t
        return self._vt

    def apply_left(self, x: Tensor) -> Tensor:
        """R x, (d, n) -> (d, n)."""
        return x - self.v @ (self.t @ (self.v.T @ x))

    def _operands(self) -> tuple[Tensor, ...]:
        return (self.v, self.t) if self.v.shape[1] <= MOST_REFLECTIONS else ()

    def _matrix(self) -> Tensor:
        return self.apply_left(torch.eye(self.d, dtype=self.v.dtype, device=self.v.device))

    def _apply(self, x: Tensor) -> Tensor:
        v = self.v.to(x)
        return x - x @ v @ self.t.to(x) @ v.T

    def _undo(self, y: Tensor) -> Tensor:
        v = self.v.to(y)
        return y - y @ v @ self.t.to(y).T @ v.T


def _compact_wy(v: Tensor) -> Tensor:
    """T (k, k) of V (d, k), from T^-1 + T^-T = V^T V: R is orthogonal for the directions as they are rounded."""
    gram = v.double().T @ v.double()  # (k, k)
    inverse = gram.triu(1) + torch.diag(gram.diagonal() / 2)
    identity = torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    t: Tensor = torch.linalg.solve_triangular(inverse, identity, upper=True)
    return t.to(v.dtype).contiguous()
