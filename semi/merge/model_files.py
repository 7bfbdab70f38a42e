"""The files of one model of a merge, written without the others': its masks, its scales and its residual."""

from __future__ import annotations

from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from semi.merge import bits
from semi.merge.config import MergeConfig
from semi.merge.description import SIGN, SUPPORT, VALUES, MaskCodec, ResidualCodec
from semi.merge.writer import TensorFile

TYPES: dict[ResidualCodec, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16}
_STORED: dict[ResidualCodec, str] = {"fp32": "F32", "bf16": "BF16"}
_NONE = np.zeros(0, dtype=np.bool_)


class ModelFiles:
    """Writes what `semi.merge.artifact` reads, block by block and tensor by tensor; use it in a `with` block.

    Args:
        folder: of the artifact.
        config: of the merge, with this model alone.
        values: how the residual is stored.

    Raises (all methods):
        OutputError: the disk is full or the place cannot be written to.
    """

    def __init__(self, folder: Path, config: MergeConfig, values: ResidualCodec) -> None:
        [model] = config.models
        self._rule, self._scale, self._type = config.rule, config.scale, _STORED[values]
        with ExitStack() as stack:
            self._masks, self._scales, self._residual = (
                stack.enter_context(TensorFile(folder, f"{part}-{model.name}", most))
                for part, most in (("masks", config.io.shard), ("scales", None), ("residual", config.io.shard))
            )
            for file in (self._masks, self._scales, self._residual):
                file.resume([])  # what an interrupted run left is written again
            self._open = stack.pop_all()
        self._begin()

    def add(self, key: str, shared: Tensor, mask: Tensor | None, scale: Tensor | None) -> None:
        """The next rows of a tensor: the shared vector, the mask (1, rows, columns), the scale of each row (rows,)."""
        if self._scale == "row" and scale is not None:
            self._scales.append(key, scale.numpy().tobytes())
        if mask is not None:
            own = mask[0].numpy()[shared.numpy() != 0]
            self._parts["mask"].append(own != 0)
            self._parts["sign"].append(own[own != 0] < 0)

    def add_residual(self, key: str, kept: Tensor, residual: Tensor) -> None:
        """The next rows of a residual, of the type that is stored, and where it is: (rows, columns), twice."""
        values = residual[kept]
        self._count += len(values)
        self._parts["support"].append(kept.view(-1).numpy())
        self._residual.append(key + VALUES, values.view(torch.uint8).numpy().data)

    def end_block(self, key: str) -> None:
        """The rows that were added are a block."""
        mask, sign, support = (np.concatenate([_NONE, *self._parts[name]]) for name in ("mask", "sign", "support"))
        self._whole &= bool(mask.all())
        if self._rule != "none":
            self._masks.append(key, bits.pack(mask))
        if self._rule == "ternary":
            self._masks.append(key + SIGN, bits.pack(sign))
        self._residual.append(key + SUPPORT, bits.pack(support))
        self._parts.clear()

    def end(self, key: str, rows: int) -> tuple[MaskCodec, bool]:
        """The codec of a tensor's mask, and whether it has a residual."""
        if self._count:
            self._residual.end(key + SUPPORT, "U8", (self._residual.length(key + SUPPORT),))
            self._residual.end(key + VALUES, self._type, (self._count,))
        else:
            self._residual.drop(key + SUPPORT)
            self._residual.drop(key + VALUES)
        if self._scale == "row":
            self._scales.end(key, "F32", (rows,))
        found = (self._end_mask(key), self._count > 0)
        self._begin()
        return found

    def finish(self, factor: Tensor | None) -> list[str]:
        """Write the files; their names. `factor` is the model's where `scale` is "model"."""
        if factor is not None:
            self._scales.append("", factor.numpy().tobytes())
            self._scales.end("", "F32", ())
        return [name for file in (self._masks, self._scales, self._residual) for name in file.finish()]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def _begin(self) -> None:
        self._parts: defaultdict[str, list[NDArray[np.bool_]]] = defaultdict(list)
        self._count, self._whole = 0, True

    def _end_mask(self, key: str) -> MaskCodec:
        if self._rule == "none":
            return "none"
        if self._rule == "ternary":
            self._masks.end(key + SIGN, "U8", (self._masks.length(key + SIGN),))
        if self._whole:
            self._masks.drop(key)
            return "ones"
        self._masks.end(key, "U8", (self._masks.length(key),))
        return "bits"
