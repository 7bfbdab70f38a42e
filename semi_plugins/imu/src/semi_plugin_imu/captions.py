"""Captions from facts: phrasings that a hash of the sample's place in its data set chooses among."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping, Sequence

import numpy as np

PACES = ("slow", "steady", "brisk")
OFTEN = 0.6
"""How often the pace is told."""


def caption(
    key: str, facts: Mapping[str, str], pace: str, phrasings: Sequence[tuple[str, str]]
) -> tuple[str, dict[str, str]]:
    """A caption and the slots behind it, each of which stands in the caption word for word.

    Args:
        key: decides the choices; the same key always gives the same caption.
        facts: slot -> value, always told.
        pace: told in 60 % of the captions.
        phrasings: each with the pace and without, e.g. ("{pace} {exercise} of the {arm}", "{exercise} of the {arm}").
    """
    rng = random.Random(hashlib.sha256(key.encode()).digest())
    with_pace, without = rng.choice(phrasings)
    if rng.random() < OFTEN:
        slots = {**facts, "pace": pace}
        return with_pace.format(**slots), slots
    return without.format(**facts), dict(facts)


def pace_of(gyroscope: np.ndarray, limits: tuple[float, float]) -> str:
    """Slow, steady or brisk, by the root mean square of the angular velocity (T, 3) in rad/s."""
    speed = float(np.sqrt((gyroscope.astype(np.float64) ** 2).sum(1).mean()))
    return PACES[int(np.searchsorted(limits, speed))]
