"""The uniform distribution over all isometries: what SEMI trains with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from semi_kernels.isometry.base import Isometry, at_least_32_bits, check_size
from semi_kernels.isometry.householder import Householder

BLOCK = 64
"""Reflections in one matrix product: enough for the product to be efficient, few enough for T to cost nothing."""


class Haar(Isometry):
    """An orthogonal matrix from the Haar measure on O(d); determinant +1 or -1, equally often.

    It is the Q of a Gaussian matrix's QR decomposition with the signs of R's diagonal moved into Q (Mezzadri 2007).
    QR turns column after column with reflections, and what they leave of a Gaussian column is Gaussian again, so the
    d reflections can be drawn directly (Stewart 1980). They are kept as such, in blocks: reflection j spans d - j
    coordinates only, so that applying them all costs 2 d^2 flops a row, just as a dense matrix does, and the
    4/3 d^3 flops of forming that matrix are never spent. Source: the isometries of SEMI (arXiv 2509.04606).
    """

    kind: ClassVar[str] = "haar"
    fusable: ClassVar[bool] = False

    def __init__(self, blocks: Sequence[Householder], sign: Tensor) -> None:
        super().__init__(len(sign), blocks[0].dtype)
        self.blocks, self.sign = tuple(blocks), sign  # block i acts on coordinates BLOCK i to d; (d,) of -1 and 1

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
        """O(d^2); see `Isometry.sample`. Takes no options."""
        if options:
            raise ValueError(f"Haar.sample: got {sorted(options)}, expected no options")
        check_size(d, dtype)
        source, working = generator.device, at_least_32_bits(dtype)
        blocks, signs = [], []
        for width in range(d, 0, -BLOCK):
            shape = (min(BLOCK, width), width)
            gaussian = torch.randn(shape, generator=generator, device=source, dtype=working)
            rows = gaussian.to(device or source).triu_()  # row j is what j reflections left of a Gaussian
            first = rows.diagonal()
            # A lone coordinate can be drawn as 0, but its axis is a direction all the same.
            length = torch.linalg.vector_norm(rows, dim=1).clamp_min(1e-10)
            # The reflection takes the row to its first axis, to the far side so that nothing cancels.
            landing = torch.where(first < 0, length, -length)
            first -= landing
            blocks.append(Householder(rows.T, dtype))
            signs.append(landing.sign())
        return cls(blocks, torch.cat(signs))

    def _apply(self, x: Tensor) -> Tensor:
        done = []
        for block in self.blocks:
            x = block._apply(x)
            done.append(x[..., :BLOCK])  # later blocks leave these alone
            x = x[..., BLOCK:]
        return torch.cat(done, dim=-1) * self.sign.to(x)

    def _undo(self, y: Tensor) -> Tensor:
        y = y * self.sign.to(y)
        x = y[..., self.d :]
        for block in reversed(self.blocks):
            start = self.d - block.d
            x = block._undo(torch.cat([y[..., start : start + BLOCK], x], dim=-1)[..., : block.d])
        return x

    def _matrix(self) -> Tensor:
        matrix = torch.eye(self.d, dtype=self.sign.dtype, device=self.sign.device)
        for block in reversed(self.blocks):  # from the last: all but its own corner is identity still
            corner = matrix[self.d - block.d :, self.d - block.d :]
            corner.copy_(block.apply_left(corner))
        return matrix * self.sign
