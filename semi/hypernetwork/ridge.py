"""The ridge hypernetwork: a closed-form adapter, with learned corrections that start at zero.

Kernel ridge regression from the support set's embeddings to its caption embeddings is written as an adapter of the
projector's first layer, with the base path off: predicted caption embedding through the shared weight W1. It needs
inner products only, so it takes any encoder width and commutes with every isometry of the encoder.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from semi.adapters import ProjectorAdapter
from semi.alignment import Alignment, Nystroem
from semi.alignment.nystroem import KERNELS as KNOWN
from semi.errors import InputError
from semi.hypernetwork.base import HyperNetwork
from semi.projector import Projector
from semi.ridge import Ridge

KERNELS: tuple[tuple[str, float], ...] = (("linear", 1.0), ("rbf", 0.5), ("rbf", 1.0), ("rbf", 2.0))
"""Candidate (kernel, bandwidth in median distances) of the alignment, chosen by leave-one-out error."""


class RidgeHyperNetwork(HyperNetwork):
    """Ridge regression as an adapter of rank k (the number of pairs), plus learned corrections.

    The corrections rewrite what is regressed on: a gain on the captions' deviations from their mean, a residual on
    each caption embedding, and a shift of their mean. They see only kernel smoothings and caption embeddings, so they
    keep the equivariance to isometries.

    Args:
        projector: the frozen shared projector; its d_in is the width of the caption embeddings.
        d_correction: hidden width of the learned corrections.
        kernels: candidates (kernel, bandwidth factor) for the alignment.
        whiten: of the alignment, see `Nystroem.fit`.
        rank: of the adapter, by reduced-rank regression; None: the number of pairs.

    Raises:
        InputError: no kernels, one that does not exist, or sizes below 1.
    """

    kind: ClassVar[str] = "ridge"
    mean_of = "products"  # a column belongs to its own sample: averaging factors doubles the error
    weight: Tensor

    def __init__(
        self,
        projector: Projector,
        *,
        d_correction: int = 256,
        kernels: tuple[tuple[str, float], ...] = KERNELS,
        whiten: float = 0.0,
        rank: int | None = None,
    ) -> None:
        super().__init__()
        unknown = [name for name, _ in kernels if name not in KNOWN]
        if d_correction < 1 or not kernels or unknown or (rank is not None and rank < 1) or not 0 <= whiten <= 1:
            raise InputError(
                "settings of the ridge hypernetwork",
                got=f"d_correction = {d_correction}, kernels = {list(kernels)}, whiten = {whiten}, rank = {rank}",
                expected=f"d_correction and rank of at least 1, kernels among {', '.join(KNOWN)}, whiten of 0 to 1",
            )
        self.settings = {
            "d_correction": d_correction,
            "kernels": [list(kernel) for kernel in kernels],
            "whiten": whiten,
            "rank": rank,
        }
        self.whiten, self.rank = whiten, rank
        self.kernels = tuple((str(name), float(factor)) for name, factor in kernels)
        d_text = projector.sizes["d_in"]
        self.register_buffer("weight", first_weight(projector).clone(), persistent=False)
        self.d_out = projector.sizes["soft_tokens"] * projector.sizes["d_lm"]
        self.log_gain = nn.Parameter(torch.zeros(()))
        self.value = _zero_mlp(2 * d_text, d_correction, d_text)
        self.shift = _zero_mlp(2 * d_text, d_correction, d_text)

    def align(self, samples: Tensor, texts: Tensor) -> Alignment:
        """Nystroem features of the kernel with the smallest leave-one-out error on the support set."""
        fits = [
            Nystroem.fit(samples, kernel=kernel, bandwidth=factor, whiten=self.whiten)
            for kernel, factor in self.kernels
        ]
        return min(fits, key=lambda fit: Ridge.fit(fit(samples), texts).error)

    def predictor(self, samples: Tensor, texts: Tensor, instruction: Tensor) -> Ridge:
        ridge = Ridge.fit(samples, texts)
        mean = texts.mean(0)
        deviation = texts - mean  # (k, d_text)
        fitted = (ridge.predict(samples) - ridge.texts.mean(0)).to(texts.dtype)
        values = self.log_gain.exp() * deviation + self.value(torch.cat([deviation, fitted], -1))
        values = values - values.mean(0) + mean + self.shift(torch.cat([mean, instruction[0]]))
        ridge = replace(ridge, texts=values.double())
        return ridge if self.rank is None else ridge.of_rank(self.rank)

    def forward(self, samples: Tensor, texts: Tensor, instruction: Tensor) -> ProjectorAdapter:
        return as_adapter(self.predictor(samples, texts, instruction), self.weight, self.d_out)


def as_adapter(ridge: Ridge, weight: Tensor, d_out: int) -> ProjectorAdapter:
    """The adapter that puts predicted caption embeddings through a projector's first layer, base path off.

    Args:
        weight: of that layer, W1 (d_hidden, d_text).
        d_out: width of the last layer's output, which stays as it is.
    """
    mean = ridge.texts.mean(0)
    A = (ridge.centred.T @ ridge.dual).to(weight.dtype)  # (d, k)
    B = (ridge.texts - mean).to(weight.dtype) @ weight.T  # (k, d_hidden)
    bias = weight @ mean.to(weight.dtype) - ridge.mean.to(weight.dtype) @ A @ B
    none = weight.new_zeros
    return ProjectorAdapter(
        A=[A, none(len(weight), 0)], B=[B, none(0, d_out)], bias=[bias, none(d_out)], base=[False, True]
    )


def first_weight(projector: Projector) -> Tensor:
    """W1 (d_hidden, d_in) of a projector, without gradient."""
    return projector.get_parameter("layers.0.weight").detach()


def _zero_mlp(d_in: int, d_hidden: int, d_out: int) -> nn.Sequential:
    """A two-layer network whose output starts at zero."""
    last = nn.Linear(d_hidden, d_out)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(nn.Linear(d_in, d_hidden), nn.GELU(), last)
