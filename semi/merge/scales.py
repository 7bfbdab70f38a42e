"""Scales of what a model gets back: one a row by least squares, or EMR's one a model."""

from __future__ import annotations

import torch
from torch import Tensor

from semi.merge.codes import Code
from semi.merge.sums import model_sums, row_sums


def row_scales(tau: Tensor, delta: Tensor) -> Tensor:
    """The s of each row that minimises ||tau - s delta||: float32 (..., rows, columns), twice -> float32 (..., rows).

    Rows of nothing but zeros in `delta` get 1.
    """
    dot, square = row_sums(tau * delta), row_sums(delta * delta)
    return torch.where(square > 0, dot / square, 1).float()


def square_sums(tau: Tensor) -> Tensor:
    """Sum of squares of each model in a block, for the rms of its tensor: float32 (N, ...) -> float64 (N,)."""
    return model_sums(tau * tau)


def emr_totals(tau: Tensor, code: Code) -> Tensor:
    """What EMR's scales need of a block: sum |tau_i| and sum |m_i v| of each model, float64 (N, 2)."""
    kept = torch.stack([code.delta(i).abs().view(-1) for i in range(len(tau))])
    return torch.stack([model_sums(tau.abs()), model_sums(kept)], dim=1)


def emr_scales(totals: Tensor) -> Tensor:
    """EMR's scales (arXiv 2405.17461, section 3.2): float64 (N, 2), summed over blocks -> float32 (N,); 1 for 0 / 0."""
    own, kept = totals.unbind(1)
    return torch.where(kept > 0, own / kept, 1).float()
