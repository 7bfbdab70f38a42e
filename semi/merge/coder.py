"""Blocks of deltas to codes, in the order of reading, with what a method knows of all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from semi.merge.codes import Code, MethodSettings, encode
from semi.merge.config import Dare, MergeConfig
from semi.merge.dare import keep_at_random
from semi.merge.inventory import Block
from semi.merge.reading import require_finite
from semi.merge.statistics import Statistics, passes


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
        tau=merge.tau,
    )


class Coder:
    """Codes by the method and the rule of its masks; a budget comes after.

    Args:
        config: of the merge.
        statistics: what the method needs to know before.
        seen: entries at each model's threshold in the blocks before, as `seen` was after them; None to begin.
    """

    def __init__(self, config: MergeConfig, statistics: Statistics, seen: Sequence[int] | None = None) -> None:
        self._config, self._statistics = config, statistics
        self._settings = method_settings(config)
        self._models = [model.name for model in config.models]
        self._check = passes(config) == 0  # otherwise the pass for the statistics has looked for NaN
        self.seen = list(seen or [0] * len(self._models))

    def kept(self, block: Block, tau: Tensor) -> Tensor | None:
        """What trimming or chance keeps of the next block, bool (N, rows, columns); None for all.

        Raises:
            InputError: a delta is not finite; names model and tensor.
        """
        if self._check:
            for name, one in zip(self._models, tau, strict=True):
                require_finite(one, name, block.key)
        if isinstance(self._config.merge, Dare):
            return self._drawn(self._config.merge, block, tau)
        thresholds = self._statistics.thresholds_of(block.key)
        if thresholds is None:
            return None
        if self._statistics.trims_tensors and block.start == 0:
            self.seen = [0] * len(self._models)
        kept = torch.empty(tau.shape, dtype=torch.bool)
        for i, (threshold, one) in enumerate(zip(thresholds, tau, strict=True)):
            kept[i], self.seen[i] = threshold.keep(one, self.seen[i])
        return kept

    def code(self, block: Block, tau: Tensor, kept: Tensor | None) -> Code:
        """The code of a block, or of some of its rows.

        Args:
            block: which.
            tau: deltas, float32 (N, rows, columns).
            kept: what `kept` gave.
        """
        return encode(tau, kept, self._settings, self._statistics.rms_of(block.key))

    def exact(self, block: Block, tau: Tensor, kept: Tensor | None) -> Code:
        """The same, its shared vector in float32 whatever `tau` is."""
        return encode(tau, kept, replace(self._settings, tau="fp32"), self._statistics.rms_of(block.key))

    def _drawn(self, method: Dare, block: Block, tau: Tensor) -> Tensor:
        rows, columns = tau.shape[1:]
        kept = torch.empty(tau.shape, dtype=torch.bool)
        for i, name in enumerate(self._models):
            start = block.start * columns
            drawn = keep_at_random(method.trim, method.seed, name, block.key, start, rows * columns)
            kept[i] = drawn.view(rows, columns)
        return kept
