"""What a method must know before it sees the first block: thresholds of trimming, and the rms of each delta."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from semi.merge.config import MergeConfig, Mmer, Ties
from semi.merge.inventory import Block, Inventory
from semi.merge.methods import METHODS
from semi.merge.reading import DeltaReader, require_finite
from semi.merge.scales import square_sums
from semi.merge.trim import Magnitudes, Threshold

_ALL = ""
"""Stands for all tensors together."""


@dataclass(frozen=True)
class Statistics:
    """Figures of all models, in their order.

    Attributes:
        thresholds: of each tensor, or one for all; empty if nothing is trimmed.
        rms: of each tensor; empty for methods that do not divide by it.
    """

    thresholds: Mapping[str, Sequence[Threshold]]
    rms: Mapping[str, Sequence[float]]

    @property
    def trims_tensors(self) -> bool:
        """Whether each tensor has a threshold of its own."""
        return bool(self.thresholds) and _ALL not in self.thresholds

    def thresholds_of(self, key: str) -> Sequence[Threshold] | None:
        """The models' thresholds for a tensor; None if nothing is trimmed."""
        return self.thresholds.get(_ALL, self.thresholds.get(key))

    def rms_of(self, key: str) -> Tensor | None:
        """The models' rms in a tensor, float64 (N,), or None."""
        return torch.tensor(self.rms[key], dtype=torch.float64) if self.rms else None

    def state(self) -> dict[str, Any]:
        """For JSON; `restore` gives it back exactly."""
        return {
            "thresholds": {key: [[t.bits, t.ties] for t in own] for key, own in self.thresholds.items()},
            "rms": {key: list(own) for key, own in self.rms.items()},
        }

    @classmethod
    def restore(cls, state: Mapping[str, Any]) -> Self:
        """From what `state` gave."""
        thresholds = {key: [Threshold(*pair) for pair in own] for key, own in state["thresholds"].items()}
        return cls(thresholds, state["rms"])


def trims(config: MergeConfig) -> bool:
    """Whether the method trims by magnitude, and keeps less than all."""
    return isinstance(config.merge, Ties | Mmer) and config.merge.trim < 1


def passes(config: MergeConfig) -> int:
    """How often the deltas are read for `take_statistics` at most."""
    return 2 if trims(config) else int(METHODS[config.merge.method].normalised)


def take_statistics(inventory: Inventory, config: MergeConfig, reader: DeltaReader) -> Statistics:
    """Read all deltas, once or twice, for what the method needs of them.

    Raises:
        InputError: a delta is not finite; names model and tensor.
        ArtifactError: as `DeltaReader.read`.
    """
    if isinstance(config.merge, Ties | Mmer) and trims(config):
        return Statistics(_thresholds(inventory, config.merge, reader), {})
    if not METHODS[config.merge.method].normalised:
        return Statistics({}, {})
    merged = list(inventory.of("merged", "rows"))
    sums = {entry.key: torch.zeros(len(inventory.models), dtype=torch.float64) for entry in merged}
    for block, tau in _checked(inventory, reader, list(inventory.blocks())):
        # One model at a time: the squares of all would take as much memory as the deltas.
        sums[block.key] += torch.cat([square_sums(one[None]) for one in tau])
    return Statistics({}, {key: (own / _elements(inventory, key)).sqrt().tolist() for key, own in sums.items()})


def _thresholds(inventory: Inventory, method: Ties | Mmer, reader: DeltaReader) -> dict[str, Sequence[Threshold]]:
    scopes: dict[str, list[Block]] = {}
    for block in inventory.blocks():
        scopes.setdefault(_ALL if method.trim_scope == "global" else block.key, []).append(block)
    found: dict[str, Sequence[Threshold]] = {}
    # A tensor of one block need not be read again, and the next one can be read ahead.
    alone = {blocks[0]: scope for scope, blocks in scopes.items() if len(blocks) == 1}
    for block, tau in _checked(inventory, reader, list(alone)):
        counters = [Magnitudes(method.trim) for _ in inventory.models]
        for counter, one in zip(counters, tau, strict=True):
            counter.count(one)
            counter.refine(one)
        found[alone[block]] = [counter.threshold() for counter in counters]
    for scope, blocks in scopes.items():
        if scope in found:
            continue
        counters = [Magnitudes(method.trim) for _ in inventory.models]
        for _, tau in _checked(inventory, reader, blocks):
            for counter, one in zip(counters, tau, strict=True):
                counter.count(one)
        if not all(counter.settled for counter in counters):
            for _, tau in reader.read(blocks):
                for counter, one in zip(counters, tau, strict=True):
                    counter.refine(one)
        found[scope] = [counter.threshold() for counter in counters]
    return found


def _checked(inventory: Inventory, reader: DeltaReader, blocks: Sequence[Block]) -> Iterator[tuple[Block, Tensor]]:
    for block, tau in reader.read(blocks):
        for name, one in zip(inventory.models, tau, strict=True):
            require_finite(one, name, block.key)
        yield block, tau


def _elements(inventory: Inventory, key: str) -> int:
    info = inventory.base.info(key)
    return max(1, info.rows * info.columns)
