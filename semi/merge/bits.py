"""Booleans as bits: eight a byte, the first in the lowest bit, the last byte filled up with zeros."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def nbytes(count: int) -> int:
    """Bytes that hold `count` bits."""
    return -(-count // 8)


def pack(flags: NDArray[np.bool_]) -> bytes:
    """Bool (n,) -> its bits."""
    return np.packbits(flags, bitorder="little").tobytes()


def unpack(data: bytes, count: int) -> NDArray[np.bool_]:
    """The first `count` bits: bool (count,)."""
    return np.unpackbits(np.frombuffer(data, dtype=np.uint8), count=count, bitorder="little").view(np.bool_)
