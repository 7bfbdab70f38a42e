"""Random dropping for DARE (arXiv 2311.03099): what is kept depends on names and positions, not on blocks."""

from __future__ import annotations

from hashlib import blake2b

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from semi.errors import InputError

_GOLDEN = 0x9E3779B97F4A7C15
_PIECE = 2**15  # entries hashed at once: 256 KB an array, which stay in the cache


def keep_at_random(share: float, seed: int, model: str, key: str, start: int, count: int) -> Tensor:
    """Entries start, ..., start + count - 1 of a tensor, each kept with probability `share`: bool (count,).

    Every entry has its own number, SplitMix64's at that position of the stream that (seed, model, key) names. So
    blocks, threads, and which other models are merged change nothing.

    Raises:
        InputError: the share is not in 0..1.
    """
    if not 0 <= share <= 1:
        raise InputError("the share of entries to keep is out of range", got=share, expected="0 to 1")
    name = "\0".join((str(seed), model, key)).encode()
    stream = int.from_bytes(blake2b(name, digest_size=8).digest(), "little")
    kept = np.empty(count, dtype=np.bool_)
    for first in range(0, count, _PIECE):
        piece = kept[first : first + _PIECE]
        origin = (stream + (start + first + 1) * _GOLDEN) % 2**64
        # Of 64 random bits the upper 53 are compared: share * 2**53 is exact, and 2**53 keeps everything.
        np.less(_mixed(origin, len(piece)) >> np.uint64(11), np.uint64(round(share * 2**53)), out=piece)
    return torch.from_numpy(kept)


def _mixed(origin: int, count: int) -> NDArray[np.uint64]:
    """SplitMix64's output for the states origin, origin + golden, ... (Steele, Lea and Flood 2014)."""
    z = np.arange(count, dtype=np.uint64)
    z *= np.uint64(_GOLDEN)
    z += np.uint64(origin)
    z ^= z >> np.uint64(30)
    z *= np.uint64(0xBF58476D1CE4E5B9)
    z ^= z >> np.uint64(27)
    z *= np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    return z
