from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from semi.streams.latency import Latency


@given(st.lists(st.integers(0, 10**14), min_size=1, max_size=200))
def test_percentiles_are_at_most_a_sixteenth_too_high(durations: list[int]) -> None:
    latency = Latency()
    for ns in durations:
        latency.add(ns)
    found = latency.summary()
    assert (found["n"], found["max"]) == (len(durations), max(durations) / 1e6)
    for name, share in (("p50", 0.5), ("p99", 0.99)):
        exact = float(np.quantile(durations, share, method="inverted_cdf")) / 1e6
        longest = 2**43 / 1e6
        assert (
            min(exact, longest) <= found[name] <= max(min(exact, longest) * (1 + 1 / 16), longest * (exact > longest))
        )


def test_nothing_took_no_time() -> None:
    assert Latency().summary() == {"n": 0, "p50": 0.0, "p99": 0.0, "max": 0.0}
