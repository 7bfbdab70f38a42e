"""Rules that say which entries of the shared vector are a model's own.

They take deltas (N, n), the shared vector (n,) and lambdas (N, 1), and give masks (N, n).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def tall(tau: Tensor, shared: Tensor, lambdas: Tensor) -> Tensor:
    """TALL-masks (arXiv 2405.07813, eq. 5): |tau| >= lambda |v - tau|, where v is not zero.

    With lambda = 1 an entry is set exactly where v is at least as near to tau as zero is: no other mask leaves less of
    any entry. So these are the masks of the optimal code, too.
    """
    return (tau.abs() >= lambdas * (shared - tau).abs_()) & (shared != 0)


def agreement(tau: Tensor, shared: Tensor, lambdas: Tensor) -> Tensor:
    """EMR (arXiv 2405.17461): the signs agree, tau v > 0. Lambdas have no part in it."""
    return (tau.sign() == shared.sign()) & (shared != 0)  # a product of small numbers would underflow


def ternary(tau: Tensor, shared: Tensor, lambdas: Tensor) -> Tensor:
    """The rule `tall` on magnitudes, with the sign of tau, for v >= 0: int8 in {-1, 0, 1}."""
    return tall(tau.abs(), shared, lambdas) * tau.sign().to(torch.int8)


RULES: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "tall": tall,
    "agreement": agreement,
    "ternary": ternary,
}
"""By the names in `semi.merge.codes.Method.mask`."""
