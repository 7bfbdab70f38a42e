"""Masks within a number of bits: which rows of a model's tensors get bits, by the error that each bit saves.

A row of a mask without bits gives its model all of the shared vector's row, or nothing of it, whichever is nearer. The
rows are independent, so taking them in the order of error saved per bit is optimal for the bits that are spent. That
order is kept to 1 part in 128: the rows in between are taken as they are read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from semi.errors import InputError
from semi.merge import bits
from semi.merge.coder import Coder
from semi.merge.codes import Code
from semi.merge.config import MergeConfig
from semi.merge.inventory import Inventory
from semi.merge.reading import DeltaReader
from semi.merge.scales import row_scales
from semi.merge.statistics import Statistics
from semi.merge.sums import row_sums

_TILE = 2**16
"""Entries of a model weighed at once, rounded up to rows."""
_BUCKETS = 2**15


@dataclass(frozen=True)
class Rows:
    """The rows of a block, of N models.

    Attributes:
        saved: error that a row's bits save, over their number: float32 (N, rows), at least 0; -1 where they save none.
        cost: their number, int64 (N, rows): the entries of the shared vector that are not zero, or 0 for masks that set
            all of them or none.
        ones: whether all of the shared vector's row is nearer than nothing, bool (N, rows).
    """

    saved: Tensor
    cost: Tensor
    ones: Tensor


@dataclass(frozen=True)
class Limit:
    """Up to where a model's rows get bits.

    Args:
        bucket: rows of higher buckets all do; -1: all whose bits save any error.
        left: bits for the rows of this bucket, spent as they are read.
    """

    bucket: int
    left: int


def weigh(tau: Tensor, code: Code, *, scaled: bool) -> Rows:
    """What the bits of each row are worth.

    Args:
        tau: deltas, float32 (N, rows, columns).
        code: of the same block, its masks by the rule.
        scaled: rows get scales by least squares, with bits or without.
    """
    models, rows, columns = tau.shape
    masks = _masks(code)
    errors = torch.empty(3, models, rows, dtype=torch.float64)  # of nothing, of all, of the mask
    chosen = torch.empty(models, rows, dtype=torch.int64)
    for tile in _tiles(rows, columns):
        for i in range(models):
            own = tau[i, tile]
            whole, masked = code.shared[tile], code.shared[tile] * masks[i, tile]
            errors[0, i, tile] = row_sums(own * own)
            errors[1, i, tile] = _error(own, whole, scaled=scaled)
            errors[2, i, tile] = _error(own, masked, scaled=scaled)
            chosen[i, tile] = masks[i, tile].sum(1)
    support = (code.shared != 0).sum(1).expand(models, rows)
    cost = torch.where((chosen == 0) | (chosen == support), 0, support)
    gained = errors[:2].amin(0) - errors[2]
    saved = torch.where(gained < 0, -1, gained / support.clamp(min=1)).float()
    return Rows(saved, cost, errors[1] < errors[0])


class Costs:
    """Adds up what the bits of all rows take, by what each of them saves.

    Args:
        models: how many.
    """

    def __init__(self, models: int) -> None:
        self._costs = np.zeros((models, _BUCKETS), dtype=np.int64)

    def add(self, rows: Rows) -> None:
        """A block."""
        for costs, saved, cost in zip(self._costs, rows.saved, rows.cost, strict=True):
            worth = saved >= 0
            np.add.at(costs, _buckets(saved[worth]).numpy(), cost[worth].numpy())

    def limits(self, most: int) -> list[Limit]:
        """Of each model, for so many bits."""
        found = []
        for costs in self._costs:
            from_above = costs[::-1].cumsum()
            place = int(from_above.searchsorted(most, side="right"))  # the first bucket that does not fit whole
            if place == _BUCKETS:
                found.append(Limit(-1, 0))
            else:
                found.append(Limit(_BUCKETS - 1 - place, most - (int(from_above[place - 1]) if place else 0)))
        return found


class Spender:
    """Gives bits to the rows of blocks, in their order.

    Args:
        limits: of the models.
        spent: what `state` gave after the blocks before; None to begin.
        scaled: as for `weigh`.
    """

    def __init__(self, limits: Sequence[Limit], spent: Sequence[int] | None = None, *, scaled: bool) -> None:
        self._limits, self._scaled = limits, scaled
        self.spent = list(spent or [0] * len(limits))

    def spend(self, tau: Tensor, code: Code) -> None:
        """Take the bits of the next block's rows that get none: their masks become all of the support, or nothing.

        Args:
            tau: deltas, float32 (N, rows, columns).
            code: of the same block, its masks by the rule; they are changed.
        """
        masks, rows = _masks(code), weigh(tau, code, scaled=self._scaled)
        support = code.shared != 0
        for i, limit in enumerate(self._limits):
            plain = ~self._within(i, limit, rows.saved[i], rows.cost[i])
            masks[i, plain] = support[plain] & rows.ones[i, plain, None]

    def _within(self, model: int, limit: Limit, saved: Tensor, cost: Tensor) -> Tensor:
        """Which rows keep the mask of the rule, bool (rows,)."""
        worth, bucket = saved >= 0, _buckets(saved.clamp(min=0))
        at = worth & (bucket == limit.bucket)
        spent = self.spent[model] + (cost * at).cumsum(0)
        self.spent[model] = int(spent[-1])
        return worth & ((bucket > limit.bucket) | (cost == 0) | (at & (spent <= limit.left)))


def find_limits(inventory: Inventory, config: MergeConfig, statistics: Statistics, reader: DeltaReader) -> list[Limit]:
    """Read all deltas for what the bits of each row are worth: up to where each model has any.

    Args:
        inventory: of the merge.
        config: of the merge, its lambdas settled.
        statistics: what the method needs to know before.
        reader: of the deltas.

    Raises:
        InputError: a delta is not finite, or so few bits do not even say which rows have any.
        ArtifactError: an input is cut short.
    """
    most = bits_to_spend(inventory, config)
    coder, costs = Coder(config, statistics), Costs(len(config.models))
    for block, tau in reader.read(inventory.blocks()):
        code = coder.code(block, tau, coder.kept(block, tau))
        costs.add(weigh(tau, code, scaled=config.scale == "row"))
    return costs.limits(most)


def bits_to_spend(inventory: Inventory, config: MergeConfig) -> int:
    """The bits of a model that its rows may spend, beside those that say what is stored of each of them.

    Raises:
        InputError: nothing would be left, or there is no budget.
    """
    if config.budget is None:
        raise InputError("this merge has no budget of bits", do="set `mask: {rule: budget, bits: ...}`")
    said, entries = 0, 0
    for block in inventory.blocks():
        rows = block.stop - block.start
        said += 16 * bits.nbytes(rows) + 7  # two bits a row, and the last byte of the block's bits is filled up
        entries += rows * inventory.base.info(block.key).columns
    if (left := int(config.budget * entries) - said) < 0:
        raise InputError(
            "the bits of a mask do not even suffice to say which rows get any",
            got=f"mask.bits of {config.budget:g}",
            expected=f"{said / entries:.4f} or more",
            do="allow more",
        )
    return left


def _masks(code: Code) -> Tensor:
    if code.masks is None:
        raise InputError("a budget is of masks, and this code has none", do="choose a method with masks")
    return code.masks


def _error(tau: Tensor, delta: Tensor, *, scaled: bool) -> Tensor:
    """Of each row, float64 (rows,)."""
    left = tau - (delta * row_scales(tau, delta)[:, None] if scaled else delta)
    return row_sums(left * left)


def _buckets(saved: Tensor) -> Tensor:
    """The upper half of float32 that are not negative: int64, in their order."""
    return (saved.contiguous().view(torch.int32) >> 16).long()


def _tiles(rows: int, columns: int) -> Iterator[slice]:
    step = max(1, _TILE // columns)
    return (slice(start, start + step) for start in range(0, rows, step))
