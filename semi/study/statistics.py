"""What the numbers of a study allow to say: intervals by a bootstrap of seeds and samples, Holm, shots to match.

Every score is a ratio of sums over test samples, lower is better: nats over tokens, or facts missed over facts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

LEVEL = 0.95
"""Of every interval."""


@dataclass(frozen=True)
class Scored:
    """One method at one number of shots on one target.

    Attributes:
        seeds: of the shots, S of them.
        values: (S, n), for each seed and test sample, averaged over foundations.
        counts: (n,), what the values are out of.
    """

    seeds: tuple[int, ...]
    values: np.ndarray
    counts: np.ndarray

    @property
    def mean(self) -> float:
        """Mean over seeds of the ratio of sums."""
        return float((self.values.sum(axis=1) / self.counts.sum()).mean())

    def of(self, seeds: Sequence[int]) -> Scored:
        """These seeds alone."""
        return Scored(tuple(seeds), self.values[[self.seeds.index(seed) for seed in seeds]], self.counts)


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % interval."""

    value: float
    low: float
    high: float
    p: float = math.nan
    """Two-sided, that it is zero; for differences."""


@dataclass(frozen=True)
class Bootstrap:
    """Draws of seeds and of test samples, the same for all that is compared.

    Seeds and samples are crossed: every seed's adaptation meets the same test samples, and a sample that is hard is
    hard for all of them. So a draw takes one set of samples for all its seeds (Owen 2007, arXiv 0711.0101, "pigeonhole
    bootstrap"); samples drawn anew within each seed would count the same samples as many times as there are seeds, and
    give intervals that are too short. Of S seeds S - 1 are drawn: with S the spread of a few comes out too small, by
    (S - 1) / S (Rao and Wu 1988); the same for samples, where it hardly matters.

    Attributes:
        seeds: all there are.
        n: test samples.
        draws: 10,000 in a study.
        seed: of the draws.
    """

    seeds: tuple[int, ...]
    n: int
    draws: int
    seed: int = 0

    @cached_property
    def weights(self) -> tuple[np.ndarray, np.ndarray]:
        """How often each seed (draws, S) and each sample (draws, n) was drawn."""
        generator = np.random.default_rng(self.seed)
        by_seed = _multinomial(generator, len(self.seeds), self.draws)
        return by_seed, _multinomial(generator, self.n, self.draws)

    def means(self, scored: Scored) -> np.ndarray:
        """The mean of every draw, (draws,); NaN where none of the samples drawn counts."""
        by_seed, by_sample = self.weights
        chosen = by_seed[:, [self.seeds.index(seed) for seed in scored.seeds]]
        # A method that was measured with some of the seeds only may find none of them in a draw.
        chosen = np.where(chosen.sum(axis=1, keepdims=True) > 0, chosen, 1.0)
        with np.errstate(invalid="ignore", divide="ignore"):
            ratios = (by_sample @ scored.values.T) / (by_sample @ scored.counts)[:, None]  # (draws, S)
        drawn: np.ndarray = (chosen * ratios).sum(axis=1) / chosen.sum(axis=1)
        return drawn


def mean(values: Sequence[float | None]) -> dict[str, float | None] | None:
    """Mean and standard error over seeds, foundations or targets; None where nothing was measured."""
    there = [value for value in values if value is not None]
    if not there:
        return None
    error = float(np.std(there, ddof=1) / math.sqrt(len(there))) if len(there) > 1 else None
    return {"mean": float(np.mean(there)), "se": error}


def difference(ours: Scored, baseline: Scored, bootstrap: Bootstrap) -> Interval | None:
    """ours - baseline, paired by seed and sample; None without a common seed."""
    common = [seed for seed in ours.seeds if seed in baseline.seeds]
    if not common:
        return None
    a, b = ours.of(common), baseline.of(common)
    drawn = bootstrap.means(a) - bootstrap.means(b)
    drawn = drawn[~np.isnan(drawn)]
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    tail = min((drawn <= 0).sum(), (drawn >= 0).sum())
    return Interval(a.mean - b.mean, float(low), float(high), min(1.0, 2 * float(1 + tail) / (len(drawn) + 1)))


def holm(p: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values of a family of tests (Holm 1979): reject those at most the level."""
    order = sorted(range(len(p)), key=lambda i: p[i])
    adjusted, worst = [0.0] * len(p), 0.0
    for rank, i in enumerate(order):
        worst = max(worst, min(1.0, (len(p) - rank) * p[i]))
        adjusted[i] = worst
    return adjusted


def decreasing(values: np.ndarray) -> np.ndarray:
    """The curves (..., K) that never rise and are nearest in squares: isotonic regression, by its min-max formula."""
    k = values.shape[-1]
    sums = np.concatenate([np.zeros((*values.shape[:-1], 1)), values.cumsum(axis=-1)], axis=-1)
    fitted = np.empty_like(values, dtype=float)
    for i in range(k):
        # over every start at or before i, the largest mean of a stretch from there that reaches i
        largest = [
            np.stack([(sums[..., b + 1] - sums[..., a]) / (b + 1 - a) for b in range(i, k)]).max(axis=0)
            for a in range(i + 1)
        ]
        fitted[..., i] = np.stack(largest).min(axis=0)
    return fitted


def crossing(shots: Sequence[int], curves: np.ndarray, level: np.ndarray) -> np.ndarray:
    """Shots (...) at which falling curves (..., K) reach a level (...), linear between log shots; infinite: never.

    A curve that begins below the level gives the fewest shots there are, which is then an upper bound.
    """
    x = np.log2(np.asarray(shots, float))
    reached = curves <= level[..., None]
    first = np.argmax(reached, axis=-1)
    before = np.maximum(first - 1, 0)
    above, below = (np.take_along_axis(curves, i[..., None], axis=-1)[..., 0] for i in (before, first))
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where(above > below, (above - level) / (above - below), 1.0)
    found = np.exp2(x[before] + np.clip(share, 0, 1) * (x[first] - x[before]))
    return np.where(reached.any(axis=-1), found, np.inf)


def shots_to_match(
    ours: Scored, baseline: Sequence[tuple[int, Scored]], bootstrap: Bootstrap
) -> tuple[Interval, int, int]:
    """How many shots a baseline needs for the score that `ours` has, with the fewest and the most it was given.

    Args:
        baseline: (shots, scores), in order of shots.
    """
    shots = [n for n, _ in baseline]
    curve = np.array([scored.mean for _, scored in baseline])
    value = crossing(shots, decreasing(curve), np.array(ours.mean))
    drawn_curves = np.stack([bootstrap.means(scored) for _, scored in baseline], axis=-1)
    drawn = crossing(shots, decreasing(drawn_curves), bootstrap.means(ours))
    # of the draws themselves: between infinity and a number there is nothing to interpolate
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], method="inverted_cdf")
    return Interval(float(value), float(low), float(high)), shots[0], shots[-1]


def _multinomial(generator: np.random.Generator, size: int, draws: int) -> np.ndarray:
    """How often each of `size` things was drawn, (draws, size), size - 1 being drawn (1 of 1)."""
    return generator.multinomial(max(1, size - 1), np.full(size, 1 / size), size=draws).astype(float)
