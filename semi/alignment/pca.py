"""Principal components of the support set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from semi.alignment.base import Alignment, positive, samples_in_float64
from semi.errors import InputError


class PCA(Alignment):
    """(x - mean) onto the principal axes, the widest first; n samples span at most n - 1, the rest of d_out is zero.

    Args:
        mean: (d_in,) float64.
        axes: (d_out, d_in) float64, orthonormal rows (or zero).
    """

    kind: ClassVar[str] = "pca"

    def __init__(self, mean: Tensor, axes: Tensor) -> None:
        self.mean, self.axes = mean, axes
        self.d_out, self.d_in = axes.shape

    @classmethod
    def fit(cls, x: Tensor, d_out: int) -> Self:
        """The d_out widest axes of x (n, d_in).

        Raises:
            InputError: d_out < 1, or x is not a finite (n, d_in) with n >= 2.
        """
        if d_out < 1:
            raise InputError("PCA cannot keep that many axes", got=d_out, expected="at least 1")
        x = samples_in_float64(x)
        mean = x.mean(dim=0)
        u, s, vh = torch.linalg.svd(x - mean, full_matrices=False)
        kept = int((s > 1e-10 * s[0]).sum()) if s[0] > 0 else 0
        kept = min(kept, d_out)
        axes = x.new_zeros(d_out, x.shape[1])
        axes[:kept] = signs(u[:, :kept])[:, None] * vh[:kept]
        return cls(mean, axes)

    def _map(self, x: Tensor) -> Tensor:
        mean, axes = self.mean.to(x.device), self.axes.to(x.device)
        return ((x.double() - mean) @ axes.T).to(x.dtype)

    def tensors(self) -> dict[str, Tensor]:
        return {"mean": self.mean, "axes": self.axes}

    @classmethod
    def shapes(cls, settings: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
        d_in, d_out = positive(settings, "d_in"), positive(settings, "d_out")
        return {"mean": (d_in,), "axes": (d_out, d_in)}

    @classmethod
    def _restored(cls, settings: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Self:
        return cls(tensors["mean"].double(), tensors["axes"].double())


def signs(scores: Tensor) -> Tensor:
    """A sign for every column of scores (n, m) that makes its largest entry positive, (m,).

    Decided on the samples' coordinates rather than on the axes: an isometry of x turns the axes and leaves these.
    """
    largest = scores.gather(0, scores.abs().argmax(dim=0, keepdim=True)).squeeze(0)
    return torch.where(largest < 0, -1.0, 1.0).to(scores)
