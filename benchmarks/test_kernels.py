"""The kernels and their peers at the bench's small cases. Run with `pytest benchmarks/test_kernels.py`.

On a CPU these are times of the PyTorch reference; `semi bench` on a machine with a GPU says more (docs/benchmarks.md).
"""

from __future__ import annotations

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from semi_kernels.bench.accuracy import error, results, truth
from semi_kernels.bench.cases import KERNELS, Case, small
from semi_kernels.bench.problems import draw
from semi_kernels.bench.providers import COMPILED, PROVIDERS, Provider
from semi_kernels.bench.run import call

CPU = torch.device("cpu")
CASES = [case for kernel in KERNELS for case in small(kernel, quick=True)]
# Compiling takes longer than all else here.
PAIRS = [(p, c) for c in CASES for p in PROVIDERS if p is not COMPILED and p.obstacle(c, CPU) is None]


def name(value: object) -> str | None:
    if isinstance(value, Provider):
        return value.name
    if isinstance(value, Case):
        shape = f"{value.kernel}-{value.M}x{value.K}x{value.N}-{value.quantisation}"
        return f"{shape}-{value.isometry}-G{value.G}-{value.mode}"
    return None


@pytest.mark.parametrize(("provider", "case"), PAIRS, ids=name)
@pytest.mark.filterwarnings("ignore")  # peers' own
def test_kernel(benchmark: BenchmarkFixture, provider: Provider, case: Case) -> None:
    problem = draw(case, CPU)
    prepared = provider.prepare(problem)
    # On some processors bitsandbytes computes in bf16 whatever it is given.
    assert error(results(problem, prepared), truth(problem)) < (0.1 if "bitsandbytes" in provider.name else 1e-4)
    benchmark.group = name(case)
    benchmark(call(case, problem, prepared))
