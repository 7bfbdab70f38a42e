"""The methods of `semi merge`: from blocks of deltas to one shared vector and a mask for each model.

What model i gets back is theta_0 + s_i m_i v, with row scales s_i of `semi.merge.scales` or none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from semi.errors import InputError
from semi.merge import consensus, masks
from semi.merge.lossy import rounded
from semi.merge.methods import METHODS, MaskRule, Method, MethodName, MethodSettings

__all__ = ["METHODS", "Code", "Method", "MethodName", "MethodSettings", "encode"]

_TILE = 2**15
"""Entries of a model worked on at once: a few dozen passes over what stays in the cache. Whole groups of `rounded`."""


@dataclass(frozen=True)
class Code:
    """A block of a merge.

    Args:
        shared: float32 (...).
        masks: bool, or int8 in {-1, 0, 1}, (N, ...), nothing set where the shared vector is zero; None if every model
            gets all of it.
    """

    shared: Tensor
    masks: Tensor | None

    def delta(self, model: int, scales: Tensor | None = None) -> Tensor:
        """What a model gets back, s_i m_i v: (...).

        Args:
            model: its index.
            scales: s_i for each row, (rows,), or a single one.
        """
        delta = self.shared if self.masks is None else self.shared * self.masks[model]
        return delta if scales is None else delta * scales.view(-1, *[1] * (delta.ndim - 1))


def encode(tau: Tensor, kept: Tensor | None, settings: MethodSettings, rms: Tensor | None = None) -> Code:
    """Merge a block.

    Args:
        tau: deltas, finite float32 (N, ...).
        kept: entries that trimming or DARE's random choice keeps, bool (N, ...); None keeps all. Masks are made for
            all entries nevertheless.
        rms: of each model's delta in the whole tensor, (N,), for methods that are `normalised`; a zero stands for one.

    Raises:
        InputError: something the method does not take, or another number of models or entries.
    """
    method = METHODS[settings.method]
    _check(tau, kept, settings, rms)
    lambdas = torch.tensor(settings.lambdas or [1.0] * len(tau), dtype=torch.float32)[:, None]
    flat = tau.reshape(len(tau), -1)  # (N, n)
    shared = torch.empty_like(flat[0])
    found = (
        torch.empty_like(flat, dtype=torch.int8 if method.mask == "ternary" else torch.bool) if method.mask else None
    )
    for start in range(0, flat.shape[1], _TILE):
        tile = slice(start, start + _TILE)
        part = _normalised(flat[:, tile], rms)
        chosen = part if kept is None else part * kept.reshape(len(tau), -1)[:, tile]
        shared[tile] = rounded(_COMBINE[settings.method](chosen, settings), settings.tau)
        if found is not None and method.mask is not None:
            found[:, tile] = masks.RULES[method.mask](part, shared[tile], lambdas)
    return Code(shared.view(tau.shape[1:]), None if found is None else found.view(tau.shape))


def masks_on(
    tau: Tensor, shared: Tensor, lambdas: Tensor, rms: Tensor | None = None, rule: MaskRule = "tall"
) -> Tensor:
    """The masks that `encode` makes, for a shared vector that it made: bool or, by the rule ternary, int8 (N, ...).

    Args:
        tau: deltas, float32 (N, ...).
        shared: float32 (...).
        lambdas: of each model, float32 (N,).
        rms: as for `encode`.
        rule: by which.
    """
    flat = tau.reshape(len(tau), -1)
    found = torch.empty(tau.shape, dtype=torch.int8 if rule == "ternary" else torch.bool)
    for start in range(0, flat.shape[1], _TILE):
        tile = slice(start, start + _TILE)
        part = masks.RULES[rule](_normalised(flat[:, tile], rms), shared.reshape(-1)[tile], lambdas[:, None])
        found.view(len(tau), -1)[:, tile] = part
    return found


def _normalised(tau: Tensor, rms: Tensor | None) -> Tensor:
    """Deltas (N, n) in units of each model's rms."""
    return tau if rms is None else tau / torch.where(rms > 0, rms, 1).float()[:, None]


def _check(tau: Tensor, kept: Tensor | None, settings: MethodSettings, rms: Tensor | None) -> None:
    method = METHODS[settings.method]
    if kept is not None and (method.keeps is None or kept.shape != tau.shape):
        expected = tuple(tau.shape) if method.keeps else "all entries"
        raise InputError(f"{settings.method} was given a choice of entries", got=tuple(kept.shape), expected=expected)
    if rms is not None and (not method.normalised or rms.shape != tau.shape[:1]):
        expected = tuple(tau.shape[:1]) if method.normalised else "none"
        raise InputError(f"{settings.method} was given rms factors", got=tuple(rms.shape), expected=expected)
    if settings.lambdas is not None and len(settings.lambdas) != len(tau):
        raise InputError("lambdas do not fit the models", got=len(settings.lambdas), expected=len(tau))


def _sum_of_all(tau: Tensor, settings: MethodSettings) -> Tensor:
    mean = (settings.agg or METHODS[settings.method].aggregations[0]) == "mean"
    factor = settings.alpha / settings.share
    return consensus.total(consensus.ascending(tau)) * (factor / len(tau) if mean else factor)


def _sum_of_agreed(tau: Tensor, settings: MethodSettings) -> Tensor:
    mean = settings.agg != "sum"
    rows = consensus.ascending(tau)
    return consensus.agreed(rows, mean=mean, zero_is_plus=settings.tie == "plus") * (settings.alpha / settings.share)


def _dare(tau: Tensor, settings: MethodSettings) -> Tensor:
    return (_sum_of_agreed if settings.agg == "dis-mean" else _sum_of_all)(tau, settings)


_COMBINE: dict[MethodName, Callable[[Tensor, MethodSettings], Tensor]] = {
    "task_arithmetic": _sum_of_all,
    "ties": _sum_of_agreed,
    "dare": _dare,
    "emr": lambda tau, _: consensus.largest(consensus.ascending(tau)),
    "tall": _sum_of_all,
    "mmer": _sum_of_agreed,
    "optimal": lambda tau, _: consensus.best_subset(consensus.ascending(tau)),
    "ternary": lambda tau, _: consensus.best_subset_of_magnitudes(consensus.ascending(tau.abs())),
}
