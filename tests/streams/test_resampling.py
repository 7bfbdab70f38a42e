from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation, Slerp

from semi.streams.resampling import resampled

GRID = np.arange(0, 1_000_000_000, 20_000_000)  # 50 Hz


def stamps_at(rate: float, jitter: float = 0.0, seed: int = 0) -> np.ndarray:
    """ns from 50 ms before the grid to 50 ms after it."""
    count = round(1.1 * rate)
    moved = np.arange(count) + jitter * np.random.default_rng(seed).uniform(-0.45, 0.45, count)
    return np.rint(moved / rate * 1e9 - 5e7).astype(np.int64)


@given(rate=st.sampled_from((20.0, 50.0, 200.0, 1000.0)), jitter=st.floats(0, 1), seed=st.integers(0, 99))
@settings(max_examples=50)
def test_a_straight_line_stays_one_and_nothing_goes_beyond_the_samples(rate: float, jitter: float, seed: int) -> None:
    stamps = stamps_at(rate, jitter, seed)
    line = np.stack((stamps / 1e9, np.full(len(stamps), 7.25)), axis=1)
    values = resampled(stamps, line, 0, GRID)
    expected = GRID / 1e9
    if rate > 55:  # the mean over half a step at either end
        expected = expected + np.r_[5e-3, np.zeros(len(GRID) - 2), -5e-3]
    np.testing.assert_allclose(values[:, 0], expected, atol=1e-12)
    np.testing.assert_allclose(values[:, 1], 7.25, rtol=1e-14)
    noise = np.random.default_rng(seed).normal(size=(len(stamps), 3))
    values = resampled(stamps, noise, 0, GRID)
    assert (values <= noise.max(0) + 1e-12).all()
    assert (values >= noise.min(0) - 1e-12).all()


def test_motion_too_fast_for_the_grid_is_averaged_away_and_slow_motion_stays() -> None:
    stamps = stamps_at(1000.0)
    time = stamps / 1e9
    fast, slow = (np.sin(2 * np.pi * hertz * time)[:, None] for hertz in (95.0, 2.0))
    assert np.abs(resampled(stamps, fast, 0, GRID)[1:-1]).max() < 0.2
    inner = resampled(stamps, slow, 0, GRID)[1:-1, 0]
    np.testing.assert_allclose(inner, np.sin(2 * np.pi * 2.0 * GRID[1:-1] / 1e9), atol=6e-3)


@pytest.mark.parametrize("magnitude", [1e-300, 1.0, 1e300])
def test_any_finite_numbers_give_finite_ones(magnitude: float) -> None:
    stamps = stamps_at(1000.0)
    values = resampled(stamps, magnitude * np.random.default_rng(0).normal(size=(len(stamps), 2)), 0, GRID)
    assert np.isfinite(values).all()
    assert np.abs(values).max() > 0


@given(seed=st.integers(0, 999), rate=st.sampled_from((20.0, 50.0)))
@settings(max_examples=40)
def test_quaternions_follow_the_great_circle_as_scipy_has_it(seed: int, rate: float) -> None:
    stamps = stamps_at(rate, 0.5, seed)
    turns = Rotation.random(len(stamps), random_state=seed)
    values = resampled(stamps, turns.as_quat(), 0, GRID, (0,))
    inside = (stamps[0] <= GRID) & (stamps[-1] >= GRID)
    expected = Slerp(stamps.astype(float), turns)(GRID[inside])
    away = (Rotation.from_quat(values[inside]) * expected.inv()).magnitude()
    # half a turn apart, both ways round are the shortest
    np.testing.assert_allclose(np.minimum(away, 1), 0, atol=1e-6)


@given(seed=st.integers(0, 999), rate=st.sampled_from((50.0, 400.0)))
@settings(max_examples=40)
def test_signs_and_lengths_of_quaternions_do_not_matter(seed: int, rate: float) -> None:
    g = np.random.default_rng(seed)
    stamps = stamps_at(rate)
    steps = Rotation.from_rotvec(g.normal(size=(len(stamps), 3)) * 5 / rate)
    turns = [Rotation.random(random_state=seed)]
    for step in steps[1:]:
        turns.append(step * turns[-1])
    samples = np.stack([turn.as_quat() for turn in turns])
    other = samples * g.choice([-1.0, 1.0], size=(len(samples), 1)) * g.uniform(0.5, 2.0, size=(len(samples), 1))
    values = resampled(stamps, samples, 0, GRID, (0,))
    np.testing.assert_allclose(resampled(stamps, other, 0, GRID, (0,)), values, atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(values, axis=1), 1, atol=1e-12)
    assert ((values[1:] * values[:-1]).sum(1) > 0).all()
    away = Rotation.from_quat(values) * Slerp(stamps.astype(float), Rotation.from_quat(samples))(GRID).inv()
    assert away.magnitude().max() < (1e-6 if rate == 50 else 0.2)


def test_quaternions_that_cancel_in_the_mean_still_turn() -> None:
    """Three turns in 20 ms."""
    stamps = np.arange(-20_000_000, 1_020_000_000, 1_000_000)
    half = np.pi * 150 * stamps / 1e9
    samples = np.stack((np.cos(half), np.zeros_like(half), np.zeros_like(half), np.sin(half)), axis=1)
    values = resampled(stamps, samples, 0, GRID, (0,))
    np.testing.assert_allclose(np.linalg.norm(values, axis=1), 1, atol=1e-12)
