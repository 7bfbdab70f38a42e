"""The pass that merges: every block read once, encoded, measured and written, resumable after each tensor."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from semi.merge.codes import Code, MethodSettings, encode
from semi.merge.config import Dare, MergeConfig
from semi.merge.dare import keep_at_random
from semi.merge.fidelity import Fidelity
from semi.merge.inventory import Block, Inventory
from semi.merge.reading import DeltaReader, require_finite
from semi.merge.scales import emr_scales, emr_totals, row_scales
from semi.merge.sink import Sink
from semi.merge.statistics import Statistics, passes

_TILE = 2**16
"""Entries of a model worked on at once, rounded up to rows."""


def method_settings(config: MergeConfig) -> MethodSettings:
    """The constants of a configuration's method."""
    merge = config.merge
    return MethodSettings(
        merge.method,
        agg=getattr(merge, "agg", None),
        alpha=getattr(merge, "alpha", 1.0),
        tie=getattr(merge, "tie", "none"),
        lambdas=tuple(config.lambda_of(model) for model in config.models) if config.rule == "tall" else None,
        share=merge.trim if isinstance(merge, Dare) else 1.0,
    )


def _row_scales(tau: Tensor, code: Code) -> Tensor:
    """Of all models, float32 (N, rows): a few rows at a time, so that their products stay in the cache."""
    rows, columns = tau.shape[1:]
    scales = torch.empty(len(tau), rows)
    step = max(1, _TILE // columns)
    for start in range(0, rows, step):
        tile = slice(start, start + step)
        part = Code(code.shared[tile], None if code.masks is None else code.masks[:, tile])
        for i, one in enumerate(tau):
            scales[i, tile] = row_scales(one[tile], part.delta(i))
    return scales


class Encoder:
    """Encodes the blocks of a merge in their order, and adds up what depends on all of them.

    Args:
        inventory: of the merge.
        config: of the merge.
        statistics: what the method needs to know before.
        state: what `state` gave after the tensors that an interrupted run has done; None to begin.
    """

    def __init__(
        self,
        inventory: Inventory,
        config: MergeConfig,
        statistics: Statistics,
        state: Mapping[str, Any] | None = None,
    ) -> None:
        self._inventory, self._config, self._statistics = inventory, config, statistics
        self._settings = method_settings(config)
        self._models = list(inventory.models)
        self._check = passes(config) == 0  # otherwise the pass for the statistics has looked for NaN
        self._seen = list(state["seen"]) if state else [0] * len(self._models)
        self._fidelity = Fidelity.restore(state["fidelity"]) if state else Fidelity(self._models)
        self._totals = torch.zeros(len(self._models), 2, dtype=torch.float64)
        if state:
            self._totals = torch.tensor(state["totals"], dtype=torch.float64)

    def run(
        self, blocks: Iterable[Block], reader: DeltaReader, sink: Sink, ended: Callable[[dict[str, Any]], None]
    ) -> None:
        """Encode blocks, whole tensors in order; `ended` is told the codecs and the state after each of them.

        Raises:
            InputError: a delta is not finite; names model and tensor.
            ArtifactError, OutputError: an input is cut short, or the output cannot be written to.
        """
        for key, own in groupby(reader.read(blocks), key=lambda read: read[0].key):
            if self._statistics.trims_tensors:
                self._seen = [0] * len(self._models)
            for block, tau in own:
                self._add(block, tau, sink)
            codec, masks = sink.end(key, self._inventory.base.info(key).shape)
            ended({"tensor": key, "codec": codec, "masks": masks, "files": sink.record(), **self.state()})

    def state(self) -> dict[str, Any]:
        """All that was added up, for JSON."""
        return {"seen": self._seen, "totals": self._totals.tolist(), "fidelity": self._fidelity.state()}

    @property
    def scales(self) -> Tensor | None:
        """Where `scale` is "model", the factors after the last block: float32 (N,)."""
        return emr_scales(self._totals) if self._config.scale == "model" else None

    def certificate(self) -> dict[str, Any]:
        """The figures of `Fidelity.report` after the last block."""
        scales = self.scales
        return (self._fidelity if scales is None else self._fidelity.scaled(scales)).report()

    def _add(self, block: Block, tau: Tensor, sink: Sink) -> None:
        if self._check:
            for name, one in zip(self._models, tau, strict=True):
                require_finite(one, name, block.key)
        code = encode(tau, self._kept(block, tau), self._settings, self._statistics.rms_of(block.key))
        scales = None
        if self._config.scale == "row":
            scales = _row_scales(tau, code)
        elif self._config.scale == "model":
            # One model at a time: the magnitudes of all would take as much memory as the deltas.
            alone = (Code(code.shared, None if code.masks is None else code.masks[i : i + 1]) for i in range(len(tau)))
            self._totals += torch.cat([emr_totals(one[None], own) for one, own in zip(tau, alone, strict=True)])
        self._fidelity.add(tau, code, scales)
        sink.add(block.key, code, scales)

    def _kept(self, block: Block, tau: Tensor) -> Tensor | None:
        """What trimming or chance keeps of a block, bool (N, rows, columns); None for all."""
        thresholds = self._statistics.thresholds_of(block.key)
        if isinstance(self._config.merge, Dare):
            return self._drawn(self._config.merge, block, tau)
        if thresholds is None:
            return None
        kept = torch.empty(tau.shape, dtype=torch.bool)
        for i, (threshold, one) in enumerate(zip(thresholds, tau, strict=True)):
            kept[i], self._seen[i] = threshold.keep(one, self._seen[i])
        return kept

    def _drawn(self, method: Dare, block: Block, tau: Tensor) -> Tensor:
        rows, columns = tau.shape[1:]
        kept = torch.empty(tau.shape, dtype=torch.bool)
        for i, name in enumerate(self._models):
            start = block.start * columns
            drawn = keep_at_random(method.trim, method.seed, name, block.key, start, rows * columns)
            kept[i] = drawn.view(rows, columns)
        return kept
