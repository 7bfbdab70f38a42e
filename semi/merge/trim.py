"""Exact trimming by magnitude without sorting: the threshold by two passes of a radix histogram.

Magnitudes of float32 are ordered as their bit patterns are. The first pass counts the upper 16 bits, which finds the
bucket that holds the threshold; the second counts the lower 16 bits within it. Both passes see blocks of any size.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from semi.errors import InputError

_INFINITY = 0x7F80  # upper 16 bits of infinity; those of NaN are the same or larger
_LARGEST = 0x7F7FFFFF  # bit pattern of the largest finite float32
_PIECE = 2**17  # entries worked on at once: what is made of them on the way stays in the cache


@dataclass(frozen=True)
class Threshold:
    """What a share keeps: every magnitude above the threshold, and the first `ties` of those that equal it.

    Args:
        bits: the threshold as the bit pattern of a float32 that is not negative.
        ties: how many entries of exactly this magnitude are kept, in the order of reading.
    """

    bits: int
    ties: int

    @property
    def magnitude(self) -> float:
        """The threshold as a number."""
        return float(struct.unpack("<f", struct.pack("<I", self.bits))[0])

    def keep(self, tau: Tensor, seen: int = 0) -> tuple[Tensor, int]:
        """Which entries of the next block are kept: float32 of any shape -> (bool of that shape, seen).

        Args:
            tau: finite deltas of one model.
            seen: entries at the threshold in the blocks before this one, as the call for the last of them returned it.
        """
        kept = torch.empty(tau.shape, dtype=torch.bool)
        flags, at = kept.view(-1).numpy(), 0
        for piece in torch.split(tau.reshape(-1), _PIECE):
            magnitude = piece.abs().numpy()  # numpy compares several times as fast as torch
            own = flags[at : at + len(magnitude)]
            np.greater(magnitude, self.magnitude, out=own)
            if seen < self.ties:
                equal = np.flatnonzero(magnitude == self.magnitude)
                own[equal[: self.ties - seen]] = True
                seen += len(equal)
            at += len(magnitude)
        return kept, seen


class Magnitudes:
    """Finds the threshold above which a share of all entries lies, 0.2 for the largest fifth.

    `count` reads every block, then, unless `settled`, `refine` reads every block again. The order of blocks is free.
    Kept are round(share * entries), halves up, or all that are not zero if these are fewer: zeros are never kept.

    Raises:
        InputError: the share is not in 0..1.
    """

    def __init__(self, share: float) -> None:
        if not 0 <= share <= 1:
            raise InputError("the share of entries to keep is out of range", got=share, expected="0 to 1")
        self._share = share
        self._upper = np.zeros(_INFINITY, dtype=np.int64)
        self._lower = np.zeros(2**16, dtype=np.int64)

    def count(self, tau: Tensor) -> None:
        """The first pass: float32 of any shape.

        Raises:
            InputError: NaN or Inf; says how many, and the caller whose.
        """
        counts = np.zeros(2**15, dtype=np.int64)
        for bits in _pieces(tau):
            counts += np.bincount(bits >> 16, minlength=len(counts))
        if bad := int(counts[_INFINITY:].sum()):
            raise InputError("a delta is not finite", got=f"{bad} NaN or Inf among {tau.numel()} entries")
        self._upper += counts[:_INFINITY]

    @property
    def settled(self) -> bool:
        """Whether the threshold is known without the second pass, as it is if all or nothing is kept."""
        return self._bucket is None

    def refine(self, tau: Tensor) -> None:
        """The second pass, of the blocks that `count` has read."""
        bucket = self._bucket
        if bucket is not None:
            within = [bits[bits >> 16 == bucket] & 0xFFFF for bits in _pieces(tau)]
            self._lower += np.bincount(np.concatenate(within), minlength=len(self._lower))

    def threshold(self) -> Threshold:
        """The threshold, after both passes.

        Raises:
            InputError: `refine` has not seen what `count` saw.
        """
        wanted, bucket = self._wanted, self._bucket
        if bucket is None:
            return Threshold(0, 0) if wanted else Threshold(_LARGEST, 0)
        if (found := int(self._lower.sum())) != (expected := int(self._upper[bucket])):
            raise InputError("the two passes over the deltas differ", got=found, expected=expected)
        wanted -= int(self._upper[bucket + 1 :].sum())
        low, above = _bucket_of(self._lower, wanted)
        bits = bucket << 16 | low
        return Threshold(bits, wanted - above if bits else 0)

    @property
    def _wanted(self) -> int:
        return math.floor(self._share * int(self._upper.sum()) + 0.5)

    @property
    def _bucket(self) -> int | None:
        """The upper bits of the threshold; None if no entry or every one that is not zero is kept."""
        wanted = self._wanted
        # Zeros share bucket 0 with the smallest subnormals; there, only the second pass tells them apart.
        return _bucket_of(self._upper, wanted)[0] if 0 < wanted < int(self._upper.sum()) else None


def _bucket_of(counts: NDArray[np.int64], wanted: int) -> tuple[int, int]:
    """The bucket of the entry that is number `wanted` from above, and how many entries lie in buckets above it."""
    from_above = counts[::-1].cumsum()
    place = int(from_above.searchsorted(wanted))
    return len(counts) - 1 - place, int(from_above[place - 1]) if place else 0


def _pieces(tau: Tensor) -> Iterator[NDArray[np.int32]]:
    """Bit patterns of |tau|, a piece at a time."""
    for piece in torch.split(tau.reshape(-1).view(torch.int32), _PIECE):
        yield (piece & 0x7FFFFFFF).numpy()
