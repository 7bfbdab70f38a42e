"""Adapters of a projector: what a hypernetwork writes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from semi.errors import InputError


@dataclass
class ProjectorAdapter:
    """One low-rank update per projector layer, already scaled by alpha/rank.

    Layer l of the projector computes  base_l * x W_l^T + x A_l B_l + b_l + bias_l.

    Attributes:
        A: per layer (in_l, r), or (G, in_l, r) for G stacked adapters.
        B: per layer (r, out_l), or (G, r, out_l).
        bias: per layer (out_l,), or (G, out_l).
        base: per layer, whether the path through the shared weight W_l stays on.
    """

    A: list[Tensor]
    B: list[Tensor]
    bias: list[Tensor]
    base: list[bool]

    @property
    def stacked(self) -> bool:
        """Whether the tensors carry a leading axis of G adapters, chosen per row."""
        return self.A[0].ndim == 3

    @classmethod
    def mean(
        cls, adapters: Sequence[ProjectorAdapter], *, of: Literal["factors", "products"] = "factors"
    ) -> ProjectorAdapter:
        """The mean of adapters from several support subsets (SEMI section 3.3).

        "factors" averages A and B, as the paper does. "products" averages the updates A B exactly by concatenation
        along the rank, which is what adapters whose columns belong to their own samples (ridge) need.
        """
        _require_alike(adapters)
        first, n = adapters[0], len(adapters)
        layers = range(len(first.A))
        bias = [torch.stack([a.bias[i] for a in adapters]).mean(0) for i in layers]
        if of == "products":
            A = [torch.cat([a.A[i] for a in adapters], dim=-1) for i in layers]
            B = [torch.cat([a.B[i] for a in adapters], dim=-2) / n for i in layers]
        else:
            _require_same_ranks(adapters)
            A = [torch.stack([a.A[i] for a in adapters]).mean(0) for i in layers]
            B = [torch.stack([a.B[i] for a in adapters]).mean(0) for i in layers]
        return cls(A, B, bias, list(first.base))

    @classmethod
    def stack(cls, adapters: Sequence[ProjectorAdapter]) -> ProjectorAdapter:
        """G adapters side by side, ranks padded with zeros to the largest, for `Projector.forward(..., rows=...)`."""
        _require_alike(adapters)
        first = adapters[0]
        A, B, bias = [], [], []
        for i in range(len(first.A)):
            rank = max(a.A[i].shape[-1] for a in adapters)
            pad = [rank - a.A[i].shape[-1] for a in adapters]
            A.append(torch.stack([torch.nn.functional.pad(a.A[i], (0, p)) for a, p in zip(adapters, pad, strict=True)]))
            B.append(
                torch.stack([torch.nn.functional.pad(a.B[i], (0, 0, 0, p)) for a, p in zip(adapters, pad, strict=True)])
            )
            bias.append(torch.stack([a.bias[i] for a in adapters]))
        return cls(A, B, bias, list(first.base))

    def tensors(self) -> dict[str, Tensor]:
        """Flat names to tensors, for saving: A0, B0, bias0, A1, ..."""
        names = (("A", self.A), ("B", self.B), ("bias", self.bias))
        return {f"{name}{i}": t for name, values in names for i, t in enumerate(values)}


def _require_same_ranks(adapters: Sequence[ProjectorAdapter]) -> None:
    ranks = sorted({tuple(A.shape[-1] for A in a.A) for a in adapters})
    if len(ranks) > 1:
        raise InputError(
            "factors of different ranks cannot be averaged",
            got=ranks,
            expected="the same rank in every layer of every adapter",
            do='average the products: mean(adapters, of="products")',
        )


def _require_alike(adapters: Sequence[ProjectorAdapter]) -> None:
    if not adapters:
        raise InputError("no adapters to combine", got=0, expected="at least one")
    bases = {tuple(a.base) for a in adapters}
    if len(bases) > 1:
        raise InputError(
            "adapters with and without a base path cannot be combined",
            got=sorted(bases),
            expected="the same `base` for every layer of every adapter",
        )
