"""The pass that merges: every block read once, encoded, measured and written, resumable after each tensor."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

from torch import Tensor

from semi.merge.budget import Limit, Spender
from semi.merge.coder import Coder
from semi.merge.config import MergeConfig
from semi.merge.inventory import Block, Inventory
from semi.merge.reading import DeltaReader
from semi.merge.sink import Sink
from semi.merge.statistics import Statistics
from semi.merge.tally import Tally

_TILE = 2**20
"""Entries of a model encoded once more at once, rounded up to rows."""


class Encoder:
    """Encodes the blocks of a merge in their order, and adds up what depends on all of them.

    Args:
        inventory: of the merge.
        config: of the merge, its lambdas settled.
        statistics: what the method needs to know before.
        limits: of each model's budget, or none.
        state: what `state` gave after the tensors that an interrupted run has done; None to begin.
    """

    def __init__(
        self,
        inventory: Inventory,
        config: MergeConfig,
        statistics: Statistics,
        limits: Sequence[Limit] = (),
        state: Mapping[str, Any] | None = None,
    ) -> None:
        self._inventory, state = inventory, state or {}
        models = list(inventory.models)
        self._coder = Coder(config, statistics, state.get("seen"))
        self._spender = Spender(limits, state.get("spent"), scaled=config.scale == "row") if limits else None
        self._tally = Tally(models, config.scale, state.get("tally"))
        self._lossless = Tally(models, config.scale, state.get("lossless")) if config.lossy else None

    def run(
        self, blocks: Iterable[Block], reader: DeltaReader, sink: Sink, ended: Callable[[dict[str, Any]], None]
    ) -> None:
        """Encode blocks, whole tensors in order; `ended` is told the codecs and the state after each of them.

        Raises:
            InputError: a delta is not finite; names model and tensor.
            ArtifactError, OutputError: an input is cut short, or the output cannot be written to.
        """
        for key, own in groupby(reader.read(blocks), key=lambda read: read[0].key):
            for block, tau in own:
                self._add(block, tau, sink)
            codec, masks = sink.end(key, self._inventory.base.info(key).shape)
            ended({"tensor": key, "codec": codec, "masks": masks, "files": sink.record(), **self.state()})

    def state(self) -> dict[str, Any]:
        """All that was added up, for JSON."""
        state = {"seen": self._coder.seen, "tally": self._tally.state()}
        state |= {"spent": self._spender.spent} if self._spender else {}
        return state | ({"lossless": self._lossless.state()} if self._lossless else {})

    @property
    def scales(self) -> Tensor | None:
        """Where `scale` is "model", the factors after the last block: float32 (N,)."""
        return self._tally.scales

    def certificates(self) -> dict[str, Any]:
        """The figures of `Fidelity.report` after the last block.

        Returns:
            "certificate", and where storing loses something "lossless": of the same merge with the shared vector in
            float32, and masks as large as they need be.
        """
        found = {"certificate": self._tally.report()}
        return found | ({"lossless": self._lossless.report()} if self._lossless else {})

    def _add(self, block: Block, tau: Tensor, sink: Sink) -> None:
        kept = self._coder.kept(block, tau)
        if self._lossless is not None:
            self._measure(self._lossless, block, tau, kept)
        code = self._coder.code(block, tau, kept)
        if self._spender is not None:
            self._spender.spend(tau, code)
        scales = self._tally.add(tau, code)
        sink.add(block.key, code, scales)

    def _measure(self, tally: Tally, block: Block, tau: Tensor, kept: Tensor | None) -> None:
        """A few rows at a time: a second code of a block would take more memory than the first one is given."""
        rows, columns = tau.shape[1:]
        step = max(1, _TILE // columns)
        for start in range(0, rows, step):
            tile = slice(start, start + step)
            part = tau[:, tile].contiguous()
            tally.add(part, self._coder.exact(block, part, None if kept is None else kept[:, tile]))
