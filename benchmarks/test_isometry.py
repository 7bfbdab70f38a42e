"""Sampling and applying isometries at the widths of encoders. Run with `pytest benchmarks/test_isometry.py`."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from scipy.stats import ortho_group

from semi_kernels.isometry import KINDS, Haar

D, ROWS = 1536, 256  # a wide encoder; a batch and its support set


def seconds(work: Callable[[], object], rounds: int = 5) -> float:
    """The fastest of some rounds."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def test_haar_is_ten_times_faster_than_scipy(benchmark: BenchmarkFixture) -> None:
    """Side by side in one process, so that whatever else the machine does slows both down."""
    generator, random = torch.Generator().manual_seed(0), np.random.default_rng(0)
    x = torch.randn(ROWS, D, generator=generator)
    found = {
        "scipy": seconds(lambda: ortho_group.rvs(D, random_state=random), rounds=2),
        "sample": seconds(lambda: Haar.sample(D, generator=generator)),
        "sample and apply": seconds(lambda: Haar.sample(D, generator=generator).apply(x)),
        "sample and matrix": seconds(lambda: Haar.sample(D, generator=generator).matrix()),
    }
    benchmark(lambda: Haar.sample(D, generator=generator))
    benchmark.extra_info.update(found)
    assert found["scipy"] >= 10 * found["sample"], found


@pytest.mark.parametrize("kind", KINDS)
def test_sample_and_apply(benchmark: BenchmarkFixture, kind: str) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(ROWS, D, generator=generator)
    benchmark(lambda: KINDS[kind].sample(D, generator=generator).apply(x))
