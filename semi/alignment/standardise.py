"""Centring and one common scale: what a network trained from scratch wants of any encoder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from torch import Tensor

from semi.alignment.base import Alignment, positive, samples_in_float64


class Standardise(Alignment):
    """(x - mean) / scale, with one scale for all features, so that isometries still commute with it.

    Args:
        mean: (d,) float64.
        scale: () float64.
    """

    kind: ClassVar[str] = "standardise"

    def __init__(self, mean: Tensor, scale: Tensor) -> None:
        self.mean, self.scale = mean, scale
        self.d_in = self.d_out = mean.shape[0]

    @classmethod
    def fit(cls, x: Tensor, *, unit: Literal["feature", "sample"] = "feature") -> Self:
        """Mean of x (n, d), and the scale that makes the root mean square of a feature, or the length of a sample, one.

        A scale of 1 where all samples are the same.
        """
        x = samples_in_float64(x)
        mean = x.mean(0)
        scale = (x - mean).square().mean().sqrt() * (x.shape[1] ** 0.5 if unit == "sample" else 1)
        return cls(mean, scale if scale > 0 else scale + 1)

    def _map(self, x: Tensor) -> Tensor:
        return ((x.double() - self.mean.to(x.device)) / self.scale.to(x.device)).to(x.dtype)

    def tensors(self) -> dict[str, Tensor]:
        return {"mean": self.mean, "scale": self.scale}

    @classmethod
    def shapes(cls, settings: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
        return {"mean": (positive(settings, "d_in"),), "scale": ()}

    @classmethod
    def _restored(cls, settings: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Self:
        return cls(tensors["mean"].double(), tensors["scale"].double())
