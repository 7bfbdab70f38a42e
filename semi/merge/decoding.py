"""Parts of an artifact's tensors, block by block as they were written: see `semi.merge.artifact`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from semi.merge import bits
from semi.merge.checkpoint import Checkpoint
from semi.merge.description import ABSMAX, KINDS, SIGN, SUPPORT, VALUES, MaskCodec, MergedTensor
from semi.merge.inventory import Block
from semi.merge.lossy import FORMS, GROUP, dequantise


def read_sparse(file: Checkpoint, entry: MergedTensor, blocks: Iterable[Block]) -> Iterator[tuple[Block, Tensor]]:
    """A tensor that is stored as support and floats: blocks, and float32 (rows, columns)."""
    support, values = 0, 0  # bytes and values of the blocks before this one
    for block in blocks:
        count = _count(entry, block)
        flags = _bits(file, entry.key + SUPPORT, support, count)
        stop = values + int(flags.sum())
        vector = np.zeros(count, dtype=np.float32)
        vector[flags] = file.read(entry.key + VALUES, values, stop).view(-1).numpy()
        support, values = support + bits.nbytes(count), stop
        yield block, torch.from_numpy(vector).view(block.stop - block.start, -1)


def read_levels(file: Checkpoint, entry: MergedTensor, blocks: Iterable[Block]) -> Iterator[tuple[Block, Tensor]]:
    """A tensor in 4 bits an entry, with or without a support: blocks, and float32 (rows, columns)."""
    form, sparse = FORMS["nf4"], entry.codec == "sparse"
    support, values, group = 0, 0, 0  # bytes of the support and of the levels, and groups, of the blocks before
    for block in blocks:
        count = _count(entry, block)
        kept = _bits(file, entry.key + SUPPORT, support, count) if sparse else np.ones(count, dtype=np.bool_)
        own, groups = int(kept.sum()), -(-count // GROUP)
        stop = values + form.nbytes(own)
        levels = np.full(count, form.zero, dtype=np.uint8)
        levels[kept] = form.unpack(b"".join(file.raw(entry.key + VALUES if sparse else entry.key, values, stop)), own)
        scales = file.read(entry.key + ABSMAX, group, group + groups).view(-1)
        support, values, group = support + bits.nbytes(count), stop, group + groups
        yield block, dequantise(torch.from_numpy(levels), scales).view(block.stop - block.start, -1)


class MaskReader:
    """Reads a model's mask of a tensor.

    Args:
        file: of the model's masks.
        key: the tensor.
        codec: of this mask.
        signed: the mask is ternary.
    """

    def __init__(self, file: Checkpoint, key: str, codec: MaskCodec, *, signed: bool) -> None:
        self._file, self._key, self._codec, self._signed = file, key, codec, signed
        self._at: dict[str, int] = {}  # bytes of each part in the blocks before

    def next(self, support: NDArray[np.bool_]) -> NDArray[Any]:
        """The next block's: where the vector is not zero, bool (rows, columns) -> there, bool or int8 (n,)."""
        count = int(support.sum())
        if self._codec == "ones":
            own = np.ones(count, dtype=np.bool_)
        elif self._codec == "rows":
            own = self._of_rows(support)
        else:
            own = self._read("", count)
        if not self._signed:
            return own
        signed = np.zeros(count, dtype=np.int8)
        signed[own] = 1 - 2 * self._read(SIGN, int(own.sum())).astype(np.int8)
        return signed

    def _of_rows(self, support: NDArray[np.bool_]) -> NDArray[np.bool_]:
        counts = support.sum(1)
        mixed, ones = (self._read(KINDS, len(support)) for _ in range(2))
        own: NDArray[np.bool_] = np.repeat(ones, counts)
        own[np.repeat(mixed, counts)] = self._read("", int(counts[mixed].sum()))
        return own

    def _read(self, part: str, count: int) -> NDArray[np.bool_]:
        start = self._at.get(part, 0)
        self._at[part] = start + bits.nbytes(count)
        return _bits(self._file, self._key + part, start, count)


def _bits(file: Checkpoint, name: str, start: int, count: int) -> NDArray[np.bool_]:
    return bits.unpack(b"".join(file.raw(name, start, start + bits.nbytes(count))), count)


def _count(entry: MergedTensor, block: Block) -> int:
    return (block.stop - block.start) * math.prod(entry.shape[1:])
