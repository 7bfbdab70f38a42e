"""Conditions that begin before the encoder: noise on raw samples, and another encoder."""

from __future__ import annotations

import copy
from functools import lru_cache
from typing import Any

import numpy as np

from semi.encoding import embed
from semi.modality import Modality
from semi.pairs import Pair
from semi.pairs_io import draw_shots, read_pairs
from semi.plugins import load_modality
from semi.study.conditions import DoesNotApplyError
from semi.study.config import StressTarget
from semi.study.data import Prepared, mapped


def with_noise(config: StressTarget, prepared: Prepared, strength: float, generator: np.random.Generator) -> np.ndarray:
    """Embeddings of the held-out samples, after noise on every array of floating-point numbers in them.

    Raises:
        DoesNotApplyError: the samples hold none: they are names of files, or text.
    """
    modality, samples = _raw(config.modality, config.source("test"), prepared)
    noisy = [_noisy(sample, strength, generator) for sample in samples]
    if any(sample is None for sample in noisy):
        raise DoesNotApplyError("the raw samples hold no arrays of numbers")
    return mapped(embed(modality.encoder(config.encoder), noisy), config.width)


def by_other_encoder(config: StressTarget, prepared: Prepared) -> np.ndarray:
    """Embeddings of the held-out samples by the target's other encoder.

    Raises:
        DoesNotApplyError: it names none, or one of another width.
    """
    if config.other_encoder is None:
        raise DoesNotApplyError("the target names no `other_encoder`")
    modality, samples = _raw(config.modality, config.source("test"), prepared)
    own, other = modality.encoder(config.encoder), modality.encoder(config.other_encoder)
    if own.width != other.width:
        raise DoesNotApplyError(f"the encoders have different widths, {own.width} and {other.width}")
    return mapped(embed(other, samples), config.width)


@lru_cache(maxsize=2)
def _raw(name: str, source: str, prepared: Prepared) -> tuple[Modality, list[Any]]:
    """The held-out samples as the encoder reads them, in the order of `load_target`."""
    modality = load_modality(name)
    pairs = read_pairs(source, modality=modality, split="test").pairs
    rows = draw_shots([Pair(i, "") for i in range(len(pairs))], prepared.held_out, 0)
    return modality, [pairs[row.sample].sample for row in rows]


def _noisy(sample: Any, strength: float, generator: np.random.Generator) -> Any | None:
    """The sample with noise, None where there is nothing to add it to."""
    if isinstance(sample, np.ndarray) and sample.dtype.kind == "f" and sample.size > 1:
        spread = sample.std(axis=0) if sample.ndim > 1 else sample.std()
        return (sample + strength * spread * generator.standard_normal(sample.shape)).astype(sample.dtype)
    if not isinstance(sample, dict):
        return None
    changed = {name: _noisy(value, strength, generator) for name, value in sample.items()}
    if all(value is None for value in changed.values()):
        return None
    other = copy.copy(sample)  # a plugin's own kind of mapping stays one
    other.update({name: value for name, value in changed.items() if value is not None})
    return other
