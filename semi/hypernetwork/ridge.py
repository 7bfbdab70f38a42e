"""The ridge hypernetwork: a closed-form adapter, with learned corrections that start at zero.

Kernel ridge regression from the support set's embeddings to its caption embeddings is written as an adapter of the
projector's first layer, with the base path off: predicted caption embedding through the shared weight W1. It needs
inner products only, so it takes any encoder width and commutes with every isometry of the encoder.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from semi.adapters import ProjectorAdapter
from semi.alignment import Alignment, Nystroem
from semi.alignment.nystroem import KERNELS as KNOWN
from semi.errors import InputError
from semi.hypernetwork.base import HyperNetwork
from semi.projector import Projector

LAMBDAS = torch.logspace(-4, 2, 25, dtype=torch.float64)
"""Candidate penalties, relative to the mean squared norm of the centred support."""
KERNELS: tuple[tuple[str, float], ...] = (("linear", 1.0), ("rbf", 0.5), ("rbf", 1.0), ("rbf", 2.0))
"""Candidate (kernel, bandwidth in median distances) of the alignment, chosen by leave-one-out error."""


class RidgeHyperNetwork(HyperNetwork):
    """Ridge regression as an adapter of rank k (the number of pairs), plus learned corrections.

    Corrections see only kernel smoothings and caption embeddings, so they keep the equivariance to isometries:
    a gain on predicted deviations, a residual on each pair's value, and a bias for both layers from the mean caption.

    Args:
        projector: the frozen shared projector; its d_in is the width of the caption embeddings.
        d_correction: hidden width of the learned corrections.
        kernels: candidates (kernel, bandwidth factor) for the alignment.

    Raises:
        InputError: no kernels, one that does not exist, or a d_correction below 1.
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
    ) -> None:
        super().__init__()
        unknown = [name for name, _ in kernels if name not in KNOWN]
        if d_correction < 1 or not kernels or unknown:
            raise InputError(
                "settings of the ridge hypernetwork",
                got=f"d_correction = {d_correction}, kernels = {list(kernels)}",
                expected=f"d_correction of at least 1, kernels among {', '.join(KNOWN)}",
            )
        self.settings = {"d_correction": d_correction, "kernels": [list(k) for k in kernels]}
        self.kernels = tuple((str(name), float(factor)) for name, factor in kernels)
        sizes = projector.sizes
        d_text, d_hidden, d_out = sizes["d_in"], sizes["d_hidden"], sizes["soft_tokens"] * sizes["d_lm"]
        first = projector.state_dict()["layers.0.weight"]  # W1 (d_hidden, d_text)
        self.register_buffer("weight", first.detach().clone(), persistent=False)
        self.log_gain = nn.Parameter(torch.zeros(()))
        self.value = _zero_mlp(2 * d_text, d_correction, d_hidden)
        self.bias = _zero_mlp(2 * d_text, d_correction, d_hidden + d_out)
        self.d_hidden = d_hidden

    def align(self, samples: Tensor, texts: Tensor) -> Alignment:
        """Nystroem features of the kernel with the smallest leave-one-out error on the support set."""
        fits = [Nystroem.fit(samples, kernel=kernel, bandwidth=factor) for kernel, factor in self.kernels]
        return min(fits, key=lambda fit: ridge_loo(fit(samples), texts)[1])

    def forward(self, samples: Tensor, texts: Tensor, instruction: Tensor) -> ProjectorAdapter:
        mean, centred, dual = ridge_dual(samples, texts)  # (d,), (k, d), (k, k)
        text_mean = texts.mean(0)
        deviation = texts - text_mean  # (k, d_text)
        fitted = (centred @ centred.T @ dual).to(texts.dtype) @ deviation  # (k, d_text)
        A = (centred.T @ dual).to(texts.dtype)  # (d, k)
        B = self.log_gain.exp() * (deviation @ self.weight.T) + self.value(torch.cat([deviation, fitted], -1))
        bias = self.weight @ text_mean - mean.to(texts.dtype) @ A @ B
        extra = self.bias(torch.cat([text_mean, instruction[0]]))
        first, last = extra[: self.d_hidden], extra[self.d_hidden :]
        none = texts.new_zeros
        return ProjectorAdapter(
            A=[A, none(self.d_hidden, 0)],
            B=[B, none(0, last.shape[0])],
            bias=[bias + first, last],
            base=[False, True],
        )


def ridge_dual(samples: Tensor, texts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean (d,), centred samples (k, d) and (Zc Zc^T + lambda I)^-1 (k, k) with lambda by leave-one-out; float64."""
    mean, centred, values, vectors = _spectrum(samples)
    penalty, _ = ridge_loo(samples, texts)
    return mean, centred, (vectors / (values + penalty)) @ vectors.T


def ridge_loo(samples: Tensor, texts: Tensor) -> tuple[float, float]:
    """The penalty with the smallest leave-one-out error, and that error.

    e_i / (1 - h_ii - 1/k) for ridge regression with an unpenalised intercept; mean squared error over the pairs.
    With fewer than three pairs nothing can be left out: the middle penalty is taken.
    """
    k = samples.shape[0]
    _, _, values, vectors = _spectrum(samples)
    scale = float(values.mean()) or 1.0
    if k < 3:
        return float(LAMBDAS[len(LAMBDAS) // 2]) * scale, float("inf")
    deviation = (texts - texts.mean(0)).double()
    rotated = vectors.T @ deviation
    errors = []
    for penalty in LAMBDAS * scale:
        shrink = values / (values + penalty)
        residual = deviation - (vectors * shrink) @ rotated
        leverage = (vectors.square() * shrink).sum(1) + 1 / k
        errors.append(float((residual / (1 - leverage).clamp_min(1e-6)[:, None]).square().sum(1).mean()))
    best = min(range(len(errors)), key=errors.__getitem__)
    return float(LAMBDAS[best]) * scale, errors[best]


def _spectrum(samples: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    z = samples.double()
    mean = z.mean(0)
    centred = z - mean
    values, vectors = torch.linalg.eigh(centred @ centred.T)
    return mean, centred, values.clamp_min(0), vectors


def _zero_mlp(d_in: int, d_hidden: int, d_out: int) -> nn.Sequential:
    """A two-layer network whose output starts at zero."""
    last = nn.Linear(d_hidden, d_out)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(nn.Linear(d_in, d_hidden), nn.GELU(), last)
