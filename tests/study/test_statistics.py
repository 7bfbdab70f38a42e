"""The statistics of studies against known answers and brute force."""

from __future__ import annotations

import math
from itertools import chain, combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import isotonic_regression

from semi.study.statistics import Bootstrap, Scored, crossing, decreasing, difference, holm, shots_to_match

numbers = st.floats(-5, 5, allow_nan=False)


def scored(rate: float, seeds: int = 6, n: int = 80, noise: float = 0.0, seed: int = 0) -> Scored:
    """A method with `rate` nats a token, on samples whose difficulty is the same for all methods."""
    hard = np.random.default_rng(99).uniform(0.5, 1.5, n)
    hard /= hard.mean()
    draw = np.random.default_rng(seed)
    by_seed = 1 + noise * draw.standard_normal((seeds, 1))
    return Scored(tuple(range(seeds)), 10 * rate * hard * by_seed, np.full(n, 10.0))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=7))
def test_holm_is_the_closed_test_of_bonferroni(p: list[float]) -> None:
    every = range(len(p))
    subsets = list(chain.from_iterable(combinations(every, size) for size in range(1, len(p) + 1)))
    expected = [max(min(1.0, len(s) * min(p[j] for j in s)) for s in subsets if i in s) for i in every]
    assert holm(p) == pytest.approx(expected)


def test_holm_of_no_tests() -> None:
    assert holm([]) == []


@given(st.lists(numbers, min_size=1, max_size=8))
def test_the_monotone_curve_is_the_isotonic_regression(values: list[float]) -> None:
    ours = decreasing(np.array([values, values[::-1]]))
    for row, raw in zip(ours, (values, values[::-1]), strict=True):
        np.testing.assert_allclose(row, isotonic_regression(raw, increasing=False).x, atol=1e-9)


@given(st.floats(8, 2048))
def test_a_curve_that_is_linear_in_log_shots_is_crossed_where_it_should(shots: float) -> None:
    grid = [8, 32, 128, 512, 2048]
    curve = 5 - 0.3 * np.log2(grid)
    level = np.array(5 - 0.3 * math.log2(shots))
    assert crossing(grid, curve, level) == pytest.approx(shots, rel=1e-6)


def test_a_level_beyond_the_curve_is_never_reached_and_one_before_it_at_once() -> None:
    curves = np.array([[3.0, 2.0, 1.0]] * 3)
    found = crossing([8, 32, 128], curves, np.array([0.5, 4.0, 1.0]))
    assert found.tolist() == [math.inf, 8.0, 128.0]
    flat = crossing([8, 32], np.array([[2.0, 2.0]]), np.array([2.0]))
    assert flat.tolist() == [8.0]


@pytest.mark.parametrize("ratio", [1, 4, 64])
def test_simulated_shots_to_match_are_the_true_ratio(ratio: int) -> None:
    grid = [8, 32, 128, 512, 2048, 4096]
    curve = [(n, scored(6 - 0.3 * math.log2(n), noise=0.005, seed=n)) for n in grid]
    ours = scored(6 - 0.3 * math.log2(32 * ratio), noise=0.005, seed=1)
    interval, fewest, most = shots_to_match(ours, curve, Bootstrap(tuple(range(6)), 80, 2000))
    assert (fewest, most) == (8, 4096)
    assert interval.low <= 32 * ratio <= interval.high
    assert interval.value == pytest.approx(32 * ratio, rel=0.25)


def test_a_baseline_that_never_catches_up_needs_more_than_it_was_given() -> None:
    curve = [(n, scored(5 - 0.1 * i)) for i, n in enumerate([8, 32, 100])]
    interval, _, most = shots_to_match(scored(2), curve, Bootstrap(tuple(range(6)), 80, 200))
    assert interval.value == interval.low == interval.high == math.inf
    assert most == 100


def test_a_difference_is_paired_by_sample_and_seed() -> None:
    """Samples differ by a factor of three and seeds by tenths, the methods by a hundredth each time: no noise."""
    base = scored(3.0, noise=0.1)
    ours = Scored(base.seeds, base.values - 0.01 * base.counts, base.counts)
    found = difference(ours, base, Bootstrap(base.seeds, 80, 500))
    assert found is not None
    assert (found.value, found.low, found.high) == pytest.approx((-0.01, -0.01, -0.01))
    assert found.p < 0.01
    same = difference(base, base, Bootstrap(base.seeds, 80, 500))
    assert same is not None
    assert (same.value, same.p) == (0, 1)


def test_only_common_seeds_are_compared() -> None:
    base = scored(3.0, noise=0.2)
    bootstrap = Bootstrap(base.seeds, 80, 200)
    found = difference(base.of([4, 2]), base, bootstrap)
    assert found is not None
    assert (found.low, found.high) == (0, 0)
    assert difference(base.of([1]), base.of([2]), bootstrap) is None


def test_the_same_seed_gives_the_same_interval() -> None:
    a, b = scored(3.0, noise=0.2), scored(2.9, noise=0.2, seed=5)
    first, second = (difference(a, b, Bootstrap(a.seeds, 80, 300)) for _ in range(2))
    assert first == second


def simulated(draw: np.random.Generator, seeds: int, n: int, truth: float) -> tuple[Scored, Scored]:
    """Crossed effects on the difference: of seeds, of samples, and of both together."""
    counts = draw.integers(6, 14, n).astype(float)
    shared = 3 + draw.standard_normal(n)[None] + 0.3 * draw.standard_normal((seeds, 1))
    effect = truth + 0.10 * draw.standard_normal((seeds, 1)) + 0.4 * draw.standard_normal(n)[None]
    effect = effect + 0.4 * draw.standard_normal((seeds, n))
    names = tuple(range(seeds))
    return Scored(names, (shared + effect) * counts, counts), Scored(names, shared * counts, counts)


@pytest.mark.parametrize(("seeds", "least"), [(10, 0.92), (3, 0.91)])
def test_intervals_cover_the_truth_about_as_often_as_they_say(seeds: int, least: float) -> None:
    draw = np.random.default_rng(0)
    bootstrap = Bootstrap(tuple(range(seeds)), 40, 1000)
    found = [difference(*simulated(draw, seeds, 40, 0.2), bootstrap) for _ in range(300)]
    covered = np.mean([f is not None and f.low <= 0.2 <= f.high for f in found])
    assert least <= covered <= 0.99


def test_a_null_effect_is_rejected_no_more_often_than_the_level() -> None:
    draw = np.random.default_rng(1)
    bootstrap = Bootstrap(tuple(range(10)), 40, 1000)
    p = [found.p for _ in range(300) if (found := difference(*simulated(draw, 10, 40, 0.0), bootstrap))]
    assert np.mean(np.array(p) < 0.05) <= 0.08


@settings(max_examples=20)
@given(st.integers(1, 5), st.integers(1, 12))
def test_any_number_of_seeds_and_samples_gives_an_interval(seeds: int, n: int) -> None:
    one = scored(3.0, seeds, n, noise=0.1)
    other = scored(2.0, seeds, n, noise=0.1, seed=3)
    found = difference(one, other, Bootstrap(one.seeds, n, 100))
    assert found is not None
    assert found.low <= found.high
    assert 0 < found.p <= 1
