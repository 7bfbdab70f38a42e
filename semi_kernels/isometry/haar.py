"""The uniform distribution over all isometries: what SEMI trains with."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from semi_kernels.isometry.base import Isometry, check_size


class Haar(Isometry):
    """A dense orthogonal matrix from the Haar measure on O(d); determinant +1 or -1, equally often.

    The Q of a Gaussian matrix's QR decomposition, with the signs of R's diagonal moved into Q (Mezzadri 2007). QR turns
    one column after the other with reflections, and what they leave of a Gaussian column is Gaussian again, so the
    reflections can be drawn directly (Stewart 1980): the same distribution in half the time.
    Source: the isometries of SEMI (arXiv 2509.04606).
    """

    kind: ClassVar[str] = "haar"
    fusable: ClassVar[bool] = False

    def __init__(self, matrix: Tensor) -> None:
        super().__init__(matrix.shape[0])
        self._matrix = matrix  # (d, d)

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
        """4/3 d^3 flops, in float32 at least; see `Isometry.sample`. Takes no options."""
        if options:
            raise ValueError(f"Haar.sample: got {sorted(options)}, expected no options")
        check_size(d, dtype)
        # LAPACK and cuSOLVER know no 16-bit floats.
        exact = dtype if dtype in (torch.float32, torch.float64) else torch.float32
        gaussian = torch.randn(d, d, generator=generator, device=generator.device, dtype=exact)
        columns = gaussian.to(device or generator.device).tril_()  # column j is what j reflections left of it
        first = columns.diagonal()
        length = torch.linalg.vector_norm(columns, dim=0)
        # Reflection j takes column j to diagonal[j] on its axis; away from `first`, so that nothing cancels.
        diagonal = torch.where(first < 0, length, -length)
        q = torch.linalg.householder_product(columns / (first - diagonal), 1 - first / diagonal)
        return cls((q * diagonal.sign()).to(dtype))

    def matrix(self) -> Tensor:
        return self._matrix.clone()

    def _apply(self, x: Tensor) -> Tensor:
        return x @ self._matrix.to(x)

    def _undo(self, y: Tensor) -> Tensor:
        return y @ self._matrix.to(y).T
