"""The draw of a support set."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from semi.errors import PairsError
from semi.pairs import Pair


def draw_shots(pairs: Sequence[Pair], k: int, seed: int) -> list[Pair]:
    """k of the pairs, without replacement, by the seed alone.

    The order is that of sha256(seed, index): the same on every machine and version of Python, and nested, so that the
    first 16 of 32 shots are the 16 shots of the same seed.

    Raises:
        PairsError: k < 1, or there are fewer pairs than that.
    """
    if k < 1:
        raise PairsError(
            "at least one shot is needed", got=f"{k} shots, {len(pairs)} pairs", expected=f"1 to {len(pairs)} shots"
        )
    if k > len(pairs):
        raise PairsError(
            "there are fewer pairs than shots",
            got=f"{k} shots, {len(pairs)} pairs",
            expected=f"at most {len(pairs)} shots",
            do="bring more pairs or ask for fewer shots",
        )
    order = sorted(range(len(pairs)), key=lambda index: hashlib.sha256(f"{seed}:{index}".encode()).digest())
    return [pairs[index] for index in order[:k]]
