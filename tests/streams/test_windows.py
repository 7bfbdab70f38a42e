"""Streaming equals offline, bit for bit, and offline equals what a few plain loops say."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semi.errors import InputError, SessionError
from semi.streams.counts import Counts
from semi.streams.cutter import Cutter
from semi.streams.settings import StreamSettings
from semi.streams.windows import Window, cut
from tests.streams.recordings import MS, SETTINGS, rising, signal, unruly

POLICIES = st.sampled_from(("drop", "sort"))
HOPS = st.sampled_from((0.01, 0.1, 0.2, 1 / 3))


def same(a: Window, b: Window) -> bool:
    names = ("run", "number", "start_ns", "end_ns")
    return all(getattr(a, name) == getattr(b, name) for name in names) and a.values.tobytes() == b.values.tobytes()


def add_up(counts: Counts) -> None:
    assert counts.pushed == counts.stored + counts.late + counts.duplicates + counts.not_finite
    assert counts.windows == counts.invalid + counts.skipped + counts.given


@given(stamps=unruly(), policy=POLICIES, hop=HOPS, seed=st.integers(0, 99))
@settings(max_examples=150)
def test_a_stream_gives_the_windows_of_the_recording(stamps: list[int], policy: str, hop: float, seed: int) -> None:
    chosen = StreamSettings(**SETTINGS | {"hop_s": hop, "out_of_order": policy, "limits": 10.0})
    values = signal(len(stamps), seed)
    windows, counts = cut(stamps, values, chosen)
    cutter = Cutter(chosen)
    taken = []
    for stamp, row in zip(stamps, values, strict=True):
        if cutter.push(stamp, row):
            taken.append(cutter.take())
    if cutter.flush():
        taken.append(cutter.take())
    found = cutter.counts()
    offline = {(window.run, window.number): window for window in windows}
    assert len(taken) + found.skipped == len(windows)
    assert all(window and same(window, offline[window.run, window.number]) for window in taken)
    assert asdict(found) | {"skipped": 0, "given": len(windows)} == asdict(counts)
    add_up(found)
    add_up(counts)


@given(stamps=unruly(), policy=POLICIES, cuts=st.lists(st.integers(0, 450), max_size=20), seed=st.integers(0, 99))
@settings(max_examples=100)
def test_portions_do_not_matter(stamps: list[int], policy: str, cuts: list[int], seed: int) -> None:
    chosen = StreamSettings(**SETTINGS | {"out_of_order": policy})
    values = signal(len(stamps), seed)
    offline = {(window.run, window.number): window for window in cut(stamps, values, chosen)[0]}
    counts = cut(stamps, values, chosen)[1]
    cutter = Cutter(chosen)
    for start, end in pairwise([0, *sorted(min(at, len(stamps)) for at in cuts), len(stamps)]):
        cutter.push_many(stamps[start:end], values[start:end].reshape(-1, 3))
        window = cutter.take()
        assert window is None or same(window, offline[window.run, window.number])
    cutter.flush()
    cutter.take()
    found = cutter.counts()
    assert asdict(found) | {"skipped": 0, "given": len(offline)} == asdict(counts)
    add_up(found)


@given(stamps=rising(), delays=st.data(), seed=st.integers(0, 99))
@settings(max_examples=100)
def test_reordering_within_the_lateness_does_not_matter(stamps: list[int], delays: st.DataObject, seed: int) -> None:
    chosen = StreamSettings(**SETTINGS | {"out_of_order": "sort", "lateness_s": 0.05})
    stamps = sorted(set(stamps))
    values = signal(len(stamps), seed)
    late = delays.draw(st.lists(st.integers(0, 50 * MS), min_size=len(stamps), max_size=len(stamps)))
    order = sorted(range(len(stamps)), key=lambda i: stamps[i] + late[i])
    plain, plain_counts = cut(stamps, values, chosen)
    mixed, mixed_counts = cut([stamps[i] for i in order], values[order], chosen)
    assert mixed_counts == plain_counts
    assert mixed_counts.late == 0
    assert all(map(same, mixed, plain))
    dropping = replace(chosen, out_of_order="drop")
    assert all(map(same, plain, cut(stamps, values, dropping)[0]))


@given(stamps=rising(steps=(0, 1, 300_000, 7 * MS, 99 * MS, 101 * MS, 400 * MS)), hop=HOPS, seed=st.integers(0, 99))
@settings(max_examples=60)
def test_windows_and_counts_are_those_of_plain_loops(stamps: list[int], hop: float, seed: int) -> None:
    chosen = StreamSettings(**SETTINGS | {"hop_s": hop})
    values = signal(len(stamps), seed)
    windows, counts = cut(stamps, values, chosen)
    good = np.isfinite(values).all(1)
    kept: dict[int, np.ndarray] = {}
    for stamp, row, fine in zip(stamps, values, good, strict=True):
        if fine:
            kept.setdefault(stamp, row)
    assert counts.not_finite == (~good).sum()
    assert counts.duplicates == good.sum() - len(kept)
    assert counts.stored == len(kept)
    if not kept:
        return
    times, rows = np.array(list(kept), np.int64), np.array(list(kept.values()))
    gaps = [(a, b) for a, b in pairwise(times.tolist()) if b - a > 100 * MS]
    assert (counts.gaps, counts.gap_ns) == (len(gaps), sum(b - a for a, b in gaps))
    expected = []
    number = 0
    while (start := int(times[0]) + number * round(hop * 1e9)) + 180 * MS <= times[-1]:
        if not any(a < start + 180 * MS and start < b for a, b in gaps):
            expected.append((number, start))
        number += 1
    assert counts.windows == number
    assert [(window.number, window.start_ns) for window in windows] == expected
    for window in windows:
        np.testing.assert_allclose(window.values, plainly(times, rows, window.start_ns), rtol=1e-9, atol=1e-9 * 1e4)


def plainly(times: np.ndarray, rows: np.ndarray, start: int) -> np.ndarray:
    """The ten values of a window at 50 Hz: at a point, or averaged between points by ever finer trapezoids."""
    inside = times[np.searchsorted(times, start, side="right") - 1 : np.searchsorted(times, start + 180 * MS) + 1]
    at = times - start
    faster = (len(inside) - 1) / (inside[-1] - inside[0]) > 1.1 / (20 * MS)
    result = np.empty((10, rows.shape[1]))
    for j in range(10):
        low, high = max(0, 20 * j - 10) * MS, min(180, 20 * j + 10) * MS
        for channel in range(rows.shape[1]):
            if faster:
                ends = [low, *(int(t) for t in at if low < t < high), high]
                area = sum(
                    (b - a) * np.interp((a + b) / 2, at, rows[:, channel]) for a, b in pairwise(ends)
                )  # a straight line's mean is its middle
                result[j, channel] = area / (high - low)
            else:
                result[j, channel] = np.interp(20 * j * MS, at, rows[:, channel])
    return result


def test_an_hour_does_not_drift() -> None:
    """At 1/3 Hz hops and a rate whose step is no whole number of ns."""
    chosen = StreamSettings(rate_hz=30.0, window_s=1.0, hop_s=1 / 3)
    assert chosen.offsets[[3, 15, 29]].tolist() == [100_000_000, 500_000_000, 966_666_667]
    stamps = np.arange(0, 3_600_000 * MS, 80 * MS)
    windows, counts = cut(stamps, stamps[:, None] / 1e9, chosen)
    last = windows[-1]
    assert last.start_ns == last.number * 333_333_333
    np.testing.assert_allclose(last.values[:, 0], (last.start_ns + chosen.offsets) / 1e9, rtol=1e-12)
    assert counts.windows == counts.given == last.number + 1


def test_a_jump_of_a_century_is_counted_without_counting() -> None:
    chosen = StreamSettings(**SETTINGS | {"hop_s": 1e-9})
    cutter = Cutter(chosen)
    century = 3_000_000_000 * 1000 * MS
    cutter.push_many([0, century, century + 1], np.zeros((3, 1)))
    found = cutter.counts()
    assert (found.windows, found.invalid, found.gaps, found.gap_ns) == (century - 180 * MS + 2,) * 2 + (1, century)


def test_the_clock_jumps_back_and_the_stream_begins_anew_after_half_a_second() -> None:
    chosen = StreamSettings(**SETTINGS)
    before = [10_000 * MS + 5 * MS * i for i in range(100)]
    after = [5 * MS * i for i in range(200)]
    windows, counts = cut(before + after, np.ones((300, 1)), chosen)
    assert counts.restarts == 1
    assert counts.late == 100  # 0 to 495 ms; the sample at 500 ms is believed
    assert Counter(window.run for window in windows) == {0: 4, 1: 4}
    assert next(window for window in windows if window.run).start_ns == 500 * MS


def test_a_source_that_is_always_behind_another_restarts_nothing() -> None:
    chosen = StreamSettings(**SETTINGS)
    stamps = [stamp for i in range(400) for stamp in (5 * MS * i + 2_000 * MS, 5 * MS * i)]
    counts = cut(stamps, np.ones((800, 1)), chosen)[1]
    assert (counts.restarts, counts.late, counts.stored) == (0, 400, 400)


def test_what_is_late_is_told_if_asked_and_the_stream_goes_on() -> None:
    cutter = Cutter(StreamSettings(**SETTINGS | {"out_of_order": "raise"}))
    with pytest.raises(SessionError, match="older than the newest") as error:
        cutter.push_many([0, 5 * MS, 4 * MS, 10 * MS], np.ones((4, 2)))
    assert error.value.retriable
    cutter.push(10 * MS, [1.0, 1.0])
    counts = cutter.counts()
    assert (counts.pushed, counts.stored, counts.late) == (4, 3, 1)


def test_a_ring_that_is_too_small_loses_windows_and_says_so() -> None:
    chosen = StreamSettings(**SETTINGS | {"capacity": 8})
    cutter = Cutter(chosen)
    cutter.push_many([5 * MS * i for i in range(200)], np.ones((200, 1)))
    counts = cutter.counts()
    assert counts.given == counts.skipped == 0
    assert counts.windows == counts.invalid > 0
    assert counts.overrun > 0


def test_a_window_that_nobody_takes_is_overwritten_and_counted() -> None:
    cutter = Cutter(StreamSettings(**SETTINGS | {"hop_s": 10.0, "capacity": 100}))
    cutter.push_many([5 * MS * i for i in range(100)], np.ones((100, 1)))
    assert cutter.counts().windows == 1
    cutter.push_many([5 * MS * i for i in range(100, 200)], np.ones((100, 1)))
    counts = cutter.counts()
    assert (counts.windows, counts.invalid, counts.overrun) == (1, 1, 1)
    assert cutter.take() is None


def test_saturated_samples_are_stored_and_counted() -> None:
    cutter = Cutter(StreamSettings(**SETTINGS | {"limits": (1.0, 2.0)}))
    cutter.push_many([0, 1, 2, 2], [[0.5, 1.9], [-1.0, 0.0], [0.0, 2.5], [9.0, 9.0]])
    counts = cutter.counts()
    assert (counts.stored, counts.saturated, counts.duplicates) == (3, 2, 1)


NUMBERS = st.sampled_from([0.0, -0.0, 1.0, -2.0, 5e-324, 1e308, np.nan, np.inf, -np.inf])


@given(
    sample=st.lists(NUMBERS, min_size=8, max_size=8),
    quaternions=st.sampled_from([(), (0,), (3,), (0, 4)]),
    limits=st.sampled_from([None, 2.0, (1.0,), (3.0, 1.0) * 4]),
)
def test_one_sample_is_judged_as_a_recording_is(sample: list[float], quaternions: Any, limits: Any) -> None:
    chosen = StreamSettings(rate_hz=50.0, window_s=1.0, hop_s=1.0, quaternions=quaternions, limits=limits)
    rows = np.array([sample])
    assert [chosen.is_usable(sample)] == chosen.usable(rows).tolist()
    if chosen.is_usable(sample):  # of others nobody asks
        assert [chosen.is_saturated(sample)] == chosen.saturated(rows).tolist()


def test_the_caller_s_buffer_is_not_kept() -> None:
    cutter = Cutter(StreamSettings(**SETTINGS | {"out_of_order": "sort"}))
    buffer = np.zeros(1)
    for i in range(100):
        buffer[0] = i
        cutter.push(20 * MS * i, buffer)
    cutter.flush()
    window = cutter.take()
    assert window is not None
    np.testing.assert_allclose(window.values[:, 0], window.start_ns / (20 * MS) + np.arange(10))


@pytest.mark.parametrize(
    ("stamp", "sample", "said"),
    [
        (0.5, [1.0, 2.0], "not a stamp"),
        (2**63, [1.0, 2.0], "not a stamp"),
        (0, [1.0], "number of channels"),
        (0, [[1.0, 2.0]], "another shape"),
        (0, ["a", "b"], "not a sample"),
        (0, 3.0, "another shape"),
    ],
)
def test_what_is_no_sample_is_refused_and_not_counted(stamp: int, sample: object, said: str) -> None:
    cutter = Cutter(StreamSettings(**SETTINGS, channels=2))
    with pytest.raises(InputError, match=said):
        cutter.push(stamp, sample)
    assert cutter.counts() == Counts()


@pytest.mark.parametrize(
    "wrong",
    [
        {"rate_hz": 0.0},
        {"window_s": 0.01},
        {"hop_s": float("nan")},
        {"out_of_order": "guess"},
        {"capacity": 1},
        {"quaternions": (0, 3)},
        {"channels": 3, "quaternions": (0,)},
        {"channels": 3, "limits": (1.0, 2.0)},
    ],
    ids=str,
)
def test_settings_out_of_range_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError):
        StreamSettings(**SETTINGS | wrong)
