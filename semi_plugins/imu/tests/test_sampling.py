"""Even rates out of uneven stamps, and from one rate to another."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from semi.errors import PairsError

from semi_plugin_imu.sampling import at_rate, evened


def wave(time: np.ndarray, hertz: float) -> np.ndarray:
    return np.stack((np.sin(2 * np.pi * hertz * time), np.cos(2 * np.pi * hertz * time)), axis=1)


@given(rate=st.sampled_from([10.0, 50.0, 52.0, 104.0, 200.0, 833.0]), start=st.floats(0, 2e9), n=st.integers(20, 400))
def test_even_stamps_are_left_alone(rate: float, start: float, n: int) -> None:
    time = np.arange(n) / rate
    values = wave(time, 1.0)
    kept, found = evened(time + start - start, values)
    assert kept is values
    assert found == pytest.approx(rate, rel=1e-4)


def test_jittered_stamps_are_interpolated() -> None:
    rng = np.random.default_rng(0)
    time = np.arange(400) / 100 + rng.uniform(-0.003, 0.003, 400)
    values, rate = evened(time, wave(time, 1.0))
    assert rate == pytest.approx(100, rel=0.05)
    grid = time[0] + np.arange(len(values)) * float(np.median(np.diff(time)))
    np.testing.assert_allclose(values, wave(grid, 1.0), atol=0.01)


def test_a_lost_packet_is_interpolated_and_a_gap_is_refused() -> None:
    time = np.delete(np.arange(200) / 50, [70, 71])
    values, rate = evened(time, wave(time, 0.5))
    assert (len(values), rate) == (200, 50.0)
    np.testing.assert_allclose(values, wave(np.arange(200) / 50, 0.5), atol=0.01)
    time = np.delete(np.arange(200) / 50, range(70, 90))
    with pytest.raises(PairsError, match="gap"):
        evened(time, wave(time, 0.5))


@pytest.mark.parametrize(
    "time", [[0.0, 0.02, 0.02], [0.0, 0.02, 0.01], [0.0, np.nan, 0.04]], ids=["twice", "back", "nan"]
)
def test_stamps_that_do_not_increase_are_refused(time: list[float]) -> None:
    with pytest.raises(PairsError, match="do not increase"):
        evened(np.array(time), np.zeros((3, 2)))


@given(rate=st.sampled_from([10.0, 25.0, 50.0, 60.0, 100.0, 400.0, 999.0]), n=st.integers(20, 800))
def test_a_constant_stays_and_so_does_the_duration(rate: float, n: int) -> None:
    resampled = at_rate(np.full((n, 3), 9.81), rate, 50.0)
    np.testing.assert_allclose(resampled, 9.81)
    assert abs((len(resampled) - 1) / 50 - (n - 1) / rate) <= 1 / 50 + 1e-9


@pytest.mark.parametrize("rate", [20.0, 104.0, 200.0, 1000.0])
def test_slow_motion_survives(rate: float) -> None:
    time = np.arange(int(4 * rate)) / rate
    resampled = at_rate(wave(time, 1.0), rate, 50.0)
    grid = np.arange(len(resampled)) / 50
    np.testing.assert_allclose(resampled[1:-1], wave(grid, 1.0)[1:-1], atol=0.02)


def test_what_is_too_fast_is_averaged_away() -> None:
    time = np.arange(4000) / 1000
    picked = wave(time, 49.0)[::20]  # seems to move at 1 Hz
    assert picked.std(0).min() > 0.6
    assert at_rate(wave(time, 49.0), 1000.0, 50.0)[1:-1].std(0).max() < 0.03


def test_nearly_the_same_rate_is_the_same() -> None:
    values = np.zeros((10, 3))
    assert at_rate(values, 50.04, 50.0) is values
