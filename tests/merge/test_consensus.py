from __future__ import annotations

from itertools import chain, combinations, product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from semi.merge import consensus
from tests.merge.deltas import Kind, blocks, deltas


@pytest.mark.parametrize("n", range(1, 11))
def test_the_network_sorts(n: int) -> None:
    """A network that sorts all zeros and ones sorts everything (Knuth's 0-1 principle)."""
    columns = torch.tensor(list(product([0.0, 1.0], repeat=n))).T
    assert torch.equal(torch.stack(consensus.ascending(columns)), columns.sort(0).values)


@given(tau=blocks(st.integers(1, 16)))
@settings(max_examples=30)
def test_any_number_of_models_is_sorted(tau: Tensor) -> None:
    before = tau.clone()
    assert torch.equal(torch.stack(consensus.ascending(tau)), tau.sort(0).values)
    assert torch.equal(tau, before)


@given(tau=blocks(), mean=st.booleans(), zero_is_plus=st.booleans())
@settings(max_examples=60)
def test_agreed_is_ties_entry_by_entry(tau: Tensor, mean: bool, zero_is_plus: bool) -> None:
    tau = tau.flatten(1)
    found = consensus.agreed(consensus.ascending(tau), mean=mean, zero_is_plus=zero_is_plus)
    for values, value in zip(tau.T.double().tolist(), found.tolist(), strict=True):
        ballot = sum(values)
        sign = 1 if ballot > 0 or (ballot == 0 and zero_is_plus) else -1 if ballot < 0 else 0
        agree = [x for x in values if x * sign > 0]
        expected = sum(agree) / (len(agree) if mean else 1) if agree else 0.0
        assert value == pytest.approx(expected, rel=1e-6, abs=1e-7)


@given(tau=blocks())
@settings(max_examples=40)
def test_largest_is_emr_entry_by_entry(tau: Tensor) -> None:
    tau = tau.flatten(1)
    found = consensus.largest(consensus.ascending(tau))
    for values, value in zip(tau.T.double().tolist(), found.tolist(), strict=True):
        ballot = sum(values)
        assert value == (max(values) if ballot > 0 else min(values) if ballot < 0 else 0)


def residual(tau: Tensor, shared: Tensor) -> Tensor:
    """Of the best masks, float64 (n,)."""
    tau, shared = tau.double(), shared.double()
    return torch.minimum(tau**2, (tau - shared) ** 2).sum(0)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("kind", ["gaussian", "coarse"])
def test_no_subset_is_better(n: int, kind: Kind) -> None:
    """Brute force: with the mean of any set of models for a shared value, as much or more is left."""
    tau = deltas(n, 4000, kind=kind)
    found = residual(tau, consensus.best_subset(consensus.ascending(tau)))
    subsets = chain.from_iterable(combinations(range(n), k) for k in range(1, n + 1))
    means = [tau[list(subset)].double().mean(0) for subset in subsets]
    best = torch.stack([residual(tau, mean) for mean in means]).amin(0)
    torch.testing.assert_close(found, best, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5])
def test_no_subset_and_signs_are_better(n: int) -> None:
    tau = deltas(n, 2000)
    value = consensus.best_subset_of_magnitudes(consensus.ascending(tau.abs()))
    found = residual(tau.abs(), value)
    choices = [torch.tensor(choice)[:, None] for choice in product([-1.0, 0.0, 1.0], repeat=n) if any(choice)]
    left = []
    for signs in choices:
        shared = (signs * tau).double().sum(0) / signs.abs().sum()
        left.append(((tau - signs * shared) ** 2).sum(0))
    torch.testing.assert_close(found, torch.stack(left).amin(0), rtol=1e-6, atol=1e-7)


def test_many_models_still_have_prefixes_as_their_best_sets() -> None:
    """Sixteen models: against each threshold's set, from either end."""
    tau = deltas(16, 500)
    ordered = tau.double().sort(0).values
    means = [ordered[:k].mean(0) for k in range(1, 17)] + [ordered[-k:].mean(0) for k in range(1, 17)]
    best = torch.stack([residual(tau, mean) for mean in means]).amin(0)
    torch.testing.assert_close(residual(tau, consensus.best_subset(consensus.ascending(tau))), best, rtol=1e-6, atol=0)


def test_small_numbers_do_not_underflow() -> None:
    tau = torch.tensor([[1e-30], [3e-30], [-1e-30]])
    assert consensus.best_subset(consensus.ascending(tau)).item() == pytest.approx(3e-30)
