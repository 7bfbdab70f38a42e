"""From the deltas of several models to one shared value an entry. The order of the models changes no bit of it.

Every function takes the deltas as `ascending` gives them: N rows (n,), sorted at each entry. Sums run in that order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache

import torch
from torch import Tensor


@cache
def comparators(count: int) -> tuple[tuple[int, int], ...]:
    """Batcher's odd-even merge sort: pairs (i, j), i < j, that sort `count` values when compared one after another.

    For a few long rows this is faster than torch.sort along the models, which walks the memory across.
    """

    def pairs() -> Iterator[tuple[int, int]]:
        p = 1
        while p < count:
            k = p
            while k:
                for first in range(k % p, count - k, 2 * k):
                    for i in range(first, min(first + k, count - k)):
                        if i // (2 * p) == (i + k) // (2 * p):
                            yield i, i + k
                k //= 2
            p *= 2

    return tuple(pairs())


def ascending(tau: Tensor) -> list[Tensor]:
    """The rows of (N, n), sorted at each entry: N tensors (n,)."""
    rows = list(tau.unbind())
    for i, j in comparators(len(rows)):
        rows[i], rows[j] = torch.minimum(rows[i], rows[j]), torch.maximum(rows[i], rows[j])
    return rows


def total(rows: Sequence[Tensor]) -> Tensor:
    """Sum of all models, (n,)."""
    result = torch.zeros_like(rows[0])
    for row in rows:
        result += row
    return result


def agreed(rows: Sequence[Tensor], *, mean: bool, zero_is_plus: bool) -> Tensor:
    """TIES (arXiv 2306.01708): the mean or sum of those models whose sign is that of the sum of all, (n,).

    Args:
        zero_is_plus: a sum of zero elects plus, as it does in mergekit and PEFT; otherwise it elects nobody.
    """
    above, below = total([row.clamp(min=0) for row in rows]), total([row.clamp(max=0) for row in rows])
    ballot = above + below
    plus, minus = _flags(torch.ge if zero_is_plus else torch.gt, ballot), _flags(torch.lt, ballot)
    result = above * plus + below * minus
    if mean:
        voters = [total([_flags(sign, row) for row in rows]) for sign in (torch.gt, torch.lt)]
        result /= (voters[0] * plus + voters[1] * minus).clamp_(min=1)
    return result


def largest(rows: Sequence[Tensor]) -> Tensor:
    """EMR (arXiv 2405.17461): the largest delta of those whose sign is that of the sum of all, (n,)."""
    ballot = total(rows)
    return torch.where(ballot > 0, rows[-1], torch.where(ballot < 0, rows[0], 0))


def best_subset(rows: Sequence[Tensor]) -> Tensor:
    """The v that minimises sum_i min(tau_i^2, (tau_i - v)^2), (n,): the best value to store with one bit a model.

    For a set S of models the best value is their mean, and gains (sum_S tau)^2 / |S|. The best S is made up of the k
    largest or the k smallest deltas. Of two equal gains the one that is positive wins, then that of fewer models.
    """
    gain, value = _best_prefix(rows[::-1])
    other_gain, other = _best_prefix([-row for row in rows])
    negative = _flags(torch.gt, other_gain, gain)
    return value * (1 - negative) - other * negative


def best_subset_of_magnitudes(magnitudes: Sequence[Tensor]) -> Tensor:
    """The same for rows that are |tau|: the best value to store with one bit and a sign a model, (n,)."""
    return _best_prefix(magnitudes[::-1])[1]


def _best_prefix(descending: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Over k, the root of the largest gain of the k largest that are positive, and their mean: (n,), (n,)."""
    so_far, best, value = (torch.zeros_like(descending[0]) for _ in range(3))
    for k, row in enumerate(descending, 1):
        so_far += row.clamp(min=0)  # what is not positive adds nothing and costs gain: k grows
        gain = so_far * k**-0.5  # its square could underflow
        better = _flags(torch.gt, gain, best)
        best, value = torch.maximum(gain, best), so_far / k * better + value * (1 - better)
    return best, value


def _flags(compare: Callable[..., Tensor], x: Tensor, other: Tensor | float = 0) -> Tensor:
    """A comparison as 0 and 1 in the dtype of x: to multiply by these is several times as fast as torch.where."""
    return compare(x, other, out=torch.empty_like(x))
