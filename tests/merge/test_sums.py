from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from semi.merge.sums import model_sums, row_sums
from tests.merge.deltas import deltas


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@settings(max_examples=40)
@given(n=st.integers(1, 3), columns=st.integers(0, 5000), seed=st.integers(0, 99))
def test_they_are_those_of_float64(n: int, columns: int, seed: int) -> None:
    x = deltas(n, 2, columns, seed=seed)
    rounding = 5e-8 * float(x.abs().sum())
    torch.testing.assert_close(row_sums(x), x.double().sum(-1), rtol=0, atol=rounding)
    torch.testing.assert_close(model_sums(x), x.double().sum((1, 2)), rtol=0, atol=rounding)
    assert row_sums(x).dtype == torch.float64


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("shape", [(1, 1, 300_000), (1, 3, 100_001), (4, 300, 1000)])
def test_threads_change_no_bit(shape: tuple[int, ...]) -> None:
    """A plain float32 sum of 300,000 entries changes in two of three cases."""
    for seed in range(4):
        x, found = deltas(*shape, seed=seed), []
        for count in (1, 2, 5):
            torch.set_num_threads(count)
            found.append((row_sums(x).tolist(), model_sums(x).tolist()))
        assert found[0] == found[1] == found[2]
