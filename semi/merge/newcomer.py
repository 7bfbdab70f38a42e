"""The code of a model that comes to a finished merge: masks on the vector as it is, scales, and a sparse residual."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from semi.merge.artifact import Artifact
from semi.merge.codes import Code, masks_on
from semi.merge.config import MergeConfig
from semi.merge.description import MaskCodec, ResidualCodec
from semi.merge.fidelity import Fidelity, row_tiles
from semi.merge.inventory import Block, Inventory
from semi.merge.lora import LoraAdapter
from semi.merge.methods import METHODS
from semi.merge.model_files import TYPES, ModelFiles
from semi.merge.plan import FLOAT, RUNTIME
from semi.merge.reading import DeltaReader, require_finite
from semi.merge.restore import supports
from semi.merge.scales import emr_scales, emr_totals, row_scales, square_sums
from semi.merge.trim import Magnitudes, Threshold

Told = Callable[[str], Callable[[int], None]]
"""Hears what is being done, and gives what hears how many bytes of it."""


def memory_needed(artifact: Artifact, inventory: Inventory, *, ahead: bool) -> int:
    """Bytes of anonymous memory at most, by construction.

    In blocks of float32: delta and base in one workspace, or in two to read ahead; the shared vector, this block's and
    the one's before; seven at a time for what another model gets (its part, scaled, with a residual, the model's before
    it); masks of a quarter of a block for each model, and twice as much for what each of them gets anything for; one
    and a half for what is packed; two for an expanded B @ A.
    """
    [model] = inventory.models.values()
    workspaces = 2 * (1 + ahead)
    low_rank = 2 if isinstance(model, LoraAdapter) else 0
    blocks = workspaces + 2 + 7 + 3 * len(artifact.models) / 4 + 1.5 + low_rank
    return RUNTIME + math.ceil(inventory.workspace().numel() // 2 * FLOAT * blocks)


class Newcomer:
    """Fits a model to a merge, and writes what it takes, block by block, in a few passes over its deltas.

    Args:
        artifact: the merge.
        inventory: of its base and the one model that comes.
        config: the merge's, with that model alone.
        told: as `Told` says.
        ahead: read the model's next block while one is worked on.
    """

    def __init__(
        self, artifact: Artifact, inventory: Inventory, config: MergeConfig, told: Told, *, ahead: bool = False
    ) -> None:
        self._artifact, self._inventory, self._config, self._told = artifact, inventory, config, told
        self._ahead = ahead
        [self._model] = config.models
        self._keys = [entry.key for entry in artifact.of("merged", "rows")]
        self._rms: Mapping[str, Tensor] = {}
        self._factor: Tensor | None = None

    def fit(self, share: float) -> Threshold | None:
        """The passes before the writing: rms and scale, and the threshold of the residual, None where `share` is 0.

        Args:
            share: of the entries that get a residual.

        Raises:
            InputError: a delta is not finite; names model and tensor.
            ArtifactError: a file has become shorter.
        """
        squares = {key: torch.zeros(1, dtype=torch.float64) for key in self._keys}
        for key, _, tau in self._tiles("Measuring"):
            require_finite(tau, self._model.name, key)
            squares[key] += square_sums(tau[None])
        if METHODS[self._config.merge.method].normalised:
            entries = {key: max(1, math.prod(self._artifact.entries[key].shape)) for key in self._keys}
            self._rms = {key: (square / entries[key]).sqrt() for key, square in squares.items()}
        if self._config.scale == "model":
            totals = torch.zeros(1, 2, dtype=torch.float64)
            for key, shared, tau in self._tiles("Finding the scale"):
                totals += emr_totals(tau[None], Code(shared, self._mask(key, shared, tau)))
            self._factor = emr_scales(totals)
        return self._threshold(share) if share else None

    def write(self, folder: Path, threshold: Threshold | None, values: ResidualCodec) -> Written:
        """Write masks-, scales- and residual- files of the model.

        Args:
            folder: where.
            threshold: what `fit` gave.
            values: how the residual is stored.

        Raises:
            OutputError: the disk is full or the place cannot be written to.
            ArtifactError: a file has become shorter.
        """
        fidelity, shared_support = Fidelity([self._model.name]), torch.zeros(len(self._artifact.models)).long()
        masks: dict[str, MaskCodec] = {}
        residuals: dict[str, ResidualCodec] = {}
        with ModelFiles(folder, self._config, values) as files:
            seen, others = 0, (read for key in self._keys for read in supports(self._artifact, key))
            pairs = zip(self._read("Adding"), others, strict=True)
            for key, own in groupby(pairs, key=lambda pair: pair[0][0].key):
                for (_, tau), (_, shared, given) in own:
                    for rows in row_tiles(given):
                        mask, scale, delta = self._coded(key, shared[rows], tau[rows])
                        if threshold is not None:
                            kept, seen = threshold.keep(tau[rows] - delta, seen)
                            residual = torch.where(kept, tau[rows] - delta, 0).to(TYPES[values])
                            files.add_residual(key, kept, residual)
                            delta += residual.float()
                        files.add(key, shared[rows], mask, scale)
                        fidelity.compare(tau[None, rows], delta[None])
                        shared_support += (given[:, rows] & (delta != 0)).sum((1, 2))
                    files.end_block(key)
                masks[key], with_residual = files.end(key, self._artifact.entries[key].shape[0])
                residuals |= {key: values} if with_residual else {}
            names = files.finish(self._factor)
        report = fidelity.report()
        return Written(names, masks, residuals, report["models"][self._model.name], shared_support.tolist())

    def _read(self, what: str) -> Iterator[tuple[Block, Tensor]]:
        """Each block, and the model's delta, float32 (rows, columns), which holds until the next."""
        reader = DeltaReader(self._inventory, ahead=self._ahead, told=self._told(what))
        blocks = (block for key in self._keys for block in self._artifact.blocks(key))
        return ((block, tau) for block, [tau] in reader.read(blocks))

    def _tiles(self, what: str) -> Iterator[tuple[str, Tensor, Tensor]]:
        """A few rows at a time: the tensor's key, the shared vector and the model's delta, float32 (rows, columns)."""
        vectors = (vector for key in self._keys for _, vector in self._artifact.shared(key))
        for (block, tau), shared in zip(self._read(what), vectors, strict=True):
            for rows in row_tiles(tau[None]):
                yield block.key, shared[rows], tau[rows]

    def _mask(self, key: str, shared: Tensor, tau: Tensor) -> Tensor | None:
        """(1, rows, columns)."""
        rule = METHODS[self._config.merge.method].mask
        if rule is None:
            return None
        lambdas = torch.tensor([self._config.lambda_of(self._model) if rule == "tall" else 1.0])
        return masks_on(tau[None], shared, lambdas, self._rms.get(key), rule)

    def _coded(self, key: str, shared: Tensor, tau: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor]:
        """The mask (1, rows, columns), the scale of each row (rows,), and s m v (rows, columns), memory of its own."""
        mask = self._mask(key, shared, tau)
        code, scale = Code(shared, mask), self._factor
        if self._config.scale == "row":
            scale = row_scales(tau, code.delta(0))
        delta = code.delta(0, scale)
        return mask, scale, delta.clone() if delta is shared else delta

    def _threshold(self, share: float) -> Threshold:
        magnitudes = Magnitudes(share)
        for key, shared, tau in self._tiles("Weighing the residual"):
            magnitudes.count(tau - self._coded(key, shared, tau)[2])
        if not magnitudes.settled:
            for key, shared, tau in self._tiles("Weighing the residual again"):
                magnitudes.refine(tau - self._coded(key, shared, tau)[2])
        return magnitudes.threshold()


@dataclass(frozen=True)
class Written:
    """What `Newcomer.write` wrote.

    Attributes:
        files: their names.
        masks: codec of the mask of each tensor, by the base's keys.
        residuals: codec of the residual of each tensor that has one.
        figures: of the model, as in `Fidelity.report`.
        shared_support: entries that the model gets something for, and each of the merge's, too.
    """

    files: list[str]
    masks: Mapping[str, MaskCodec]
    residuals: Mapping[str, ResidualCodec]
    figures: Mapping[str, Any]
    shared_support: list[int]
