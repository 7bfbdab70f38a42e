"""Sums that come out the same, bit for bit, whatever the number of threads."""

from __future__ import annotations

import torch
from torch import Tensor

_PIECE = 1024


def row_sums(x: Tensor) -> Tensor:
    """Sums over the last dimension: float (..., n) -> float64 (...).

    torch splits a sum of more than 2**15 entries into one number among its threads; it does not split sums that are
    shorter or one of several. So pieces of 1,024 are summed in the dtype of x, and their sums in float64.
    """
    whole = x.shape[-1] // _PIECE
    pieces = x[..., : whole * _PIECE].view(*x.shape[:-1], whole, _PIECE)
    rest = x[..., whole * _PIECE :]
    return pieces.sum(-1).sum(-1, dtype=torch.float64) + rest.sum(-1, dtype=torch.float64)


def model_sums(x: Tensor) -> Tensor:
    """Sums over all but the first dimension: float (N, ...) -> float64 (N,)."""
    return row_sums(x.flatten(1))
