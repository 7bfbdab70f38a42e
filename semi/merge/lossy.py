"""How the shared vector is stored: as it is, rounded to bfloat16, or in four bits an entry."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from semi.merge.methods import Tau
from semi_kernels.weights.nf4 import LEVELS

GROUP = 64
"""Entries that share a scale in `nf4`: of a block in reading order, zeros included."""

_ZERO = LEVELS.index(0.0)
_TILE = 2**16
"""Entries worked on at once, whole groups: the numbers of levels take eight times their bytes in the making."""


@dataclass(frozen=True)
class Form:
    """How entries lie in a file, each as an element: a float, its upper half, or the number of a level.

    Args:
        tau: as the configuration has it.
        dtype: as safetensors writes it.
        element: the same in numpy.
        zero: the element of a zero.
    """

    tau: Tau
    dtype: str
    element: type[np.generic]
    zero: int = 0

    def nbytes(self, count: int) -> int:
        """Bytes of so many elements."""
        return -(-count // 2) if self.tau == "nf4" else np.dtype(self.element).itemsize * count

    def elements(self, vector: Tensor) -> NDArray[np.generic]:
        """Of float32 (n,), what `rounded` gave: (n,)."""
        if self.tau == "nf4":
            return quantise(vector)[0].numpy()
        if self.tau == "bf16":
            return vector.bfloat16().view(torch.int16).numpy().view(np.uint16)
        return vector.numpy()

    def pack(self, elements: NDArray[np.generic]) -> bytes | memoryview:
        """Elements (n,) as they lie in a file."""
        if self.tau != "nf4":
            return elements.view(np.uint8).data
        even = np.pad(elements, (0, len(elements) % 2), constant_values=self.zero).astype(np.uint8)
        return (even[::2] | even[1::2] << 4).tobytes()

    def unpack(self, data: bytes, count: int) -> NDArray[np.generic]:
        """The first `count` elements: (count,)."""
        if self.tau != "nf4":
            return np.frombuffer(data, dtype=self.element, count=count)
        pairs = np.frombuffer(data, dtype=np.uint8)
        return np.stack([pairs & 15, pairs >> 4], axis=1).reshape(-1)[:count]


FORMS: dict[Tau, Form] = {
    "fp32": Form("fp32", "F32", np.float32),
    "bf16": Form("bf16", "BF16", np.uint16),
    "nf4": Form("nf4", "U8", np.uint8, _ZERO),
}


def rounded(vector: Tensor, tau: Tau) -> Tensor:
    """What comes back of a shared vector that is stored: float32 (n,), n entries of a block from a multiple of 64 on.

    It comes back of itself exactly.
    """
    if tau == "bf16":
        return vector.bfloat16().float()
    return dequantise(*quantise(vector)) if tau == "nf4" else vector


def quantise(vector: Tensor) -> tuple[Tensor, Tensor]:
    """NF4 (QLoRA, arXiv 2305.14314, appendix E): float32 (n,) -> levels uint8 (n,), scales bfloat16 (ceil(n / 64),).

    An entry halfway between two levels takes the lower one.
    """
    table, scales = torch.tensor(LEVELS), absmax(vector)
    levels, divisors = torch.empty(len(vector), dtype=torch.uint8), torch.where(scales > 0, scales, 1).float()
    for start in range(0, len(vector), _TILE):
        tile, groups = _tile(start)
        units = _groups(vector[tile]) / divisors[groups, None]
        found = torch.bucketize(units, (table[1:] + table[:-1]) / 2, out_int32=True)
        levels[tile] = found.view(-1)[: len(vector) - start]
    return levels, scales


def absmax(vector: Tensor) -> Tensor:
    """The largest magnitude of each group: float32 (n,) -> bfloat16 (ceil(n / 64),), 4.25 bits an entry in all.

    Zero where that is below the normal numbers: further down bfloat16 is too coarse for what was rounded to come back.
    """
    found = torch.cat([_groups(part).abs().amax(1) for part in torch.split(vector, _TILE)])
    return torch.where(found < torch.finfo(torch.bfloat16).tiny, 0, found).bfloat16()


def dequantise(levels: Tensor, scales: Tensor) -> Tensor:
    """The inverse: float32 (n,)."""
    table, vector = torch.tensor(LEVELS), torch.empty(len(levels))
    for start in range(0, len(levels), _TILE):
        tile, groups = _tile(start)
        factors = scales[groups].float().repeat_interleave(GROUP)
        vector[tile] = table[levels[tile].int()].mul_(factors[: len(levels) - start])
    return vector


def _tile(start: int) -> tuple[slice, slice]:
    """The entries from `start` on, and their groups."""
    return slice(start, start + _TILE), slice(start // GROUP, (start + _TILE) // GROUP)


def _groups(vector: Tensor) -> Tensor:
    return torch.nn.functional.pad(vector, (0, -len(vector) % GROUP)).view(-1, GROUP)
