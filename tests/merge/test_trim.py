from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from semi.errors import InputError
from semi.merge.trim import Magnitudes, Threshold
from tests.merge.deltas import Kind, deltas


def trim(pieces: Sequence[Tensor], share: float) -> tuple[Tensor, Threshold]:
    """Both passes, the second one backwards, then the choice in the order of reading."""
    magnitudes = Magnitudes(share)
    for piece in pieces:
        magnitudes.count(piece)
    if not magnitudes.settled:
        for piece in reversed(pieces):
            magnitudes.refine(piece)
    threshold, seen, kept = magnitudes.threshold(), 0, []
    for piece in pieces:
        choice, seen = threshold.keep(piece, seen)
        kept.append(choice)
    return torch.cat(kept), threshold


def by_sorting(tau: Tensor, share: float) -> Tensor:
    """The largest magnitudes, of equal ones the first, never a zero."""
    order = torch.argsort(tau.abs(), descending=True, stable=True)[: math.floor(share * len(tau) + 0.5)]
    kept = torch.zeros(len(tau), dtype=torch.bool)
    kept[order] = True
    return kept & (tau != 0)


@settings(max_examples=100)
@given(
    n=st.integers(1, 2000),
    share=st.one_of(st.floats(0, 1), st.sampled_from([0.0, 0.2, 0.5, 1.0])),
    kind=st.sampled_from(["gaussian", "coarse", "sparse"]),
    scale=st.sampled_from([1.0, 1e-4, 1e-30, 1e-44, 1e30]),  # 1e-44: subnormal, where zeros are neighbours
    cuts=st.lists(st.integers(0, 2000), max_size=4),
    seed=st.integers(0, 9999),
)
def test_it_keeps_what_sorting_keeps_for_any_blocks(
    n: int, share: float, kind: Kind, scale: float, cuts: list[int], seed: int
) -> None:
    tau = deltas(n, seed=seed, kind=kind) * scale
    pieces = [tau[i:j] for i, j in zip([0, *sorted(cuts)], [*sorted(cuts), n], strict=True)]
    kept, threshold = trim(pieces, share)
    assert torch.equal(kept, by_sorting(tau, share))
    wanted = min(math.floor(share * n + 0.5), int((tau != 0).sum()))
    top = torch.topk(tau.abs(), wanted).values
    assert torch.equal(tau[kept].abs().sort(descending=True).values, top)
    if 0 < wanted < int((tau != 0).sum()):
        assert threshold.magnitude == top[-1]


def test_large_blocks_are_counted_in_pieces() -> None:
    tau = deltas(300_001, kind="gaussian")
    kept, _ = trim([tau], 0.2)
    assert torch.equal(kept, by_sorting(tau, 0.2))


def test_blocks_of_any_shape() -> None:
    tau = deltas(6, 10, kind="coarse").t()  # not contiguous
    magnitudes = Magnitudes(0.3)
    magnitudes.count(tau)
    magnitudes.refine(tau)
    kept, _ = magnitudes.threshold().keep(tau)
    assert torch.equal(kept.reshape(-1), by_sorting(tau.reshape(-1), 0.3))


@pytest.mark.parametrize(("share", "kept"), [(0.0, 0), (1.0, 5)])
def test_all_or_nothing_needs_one_pass(share: float, kept: int) -> None:
    magnitudes = Magnitudes(share)
    tau = torch.tensor([1.0, -2.0, 0.0, -0.0, 3e38, 1e-45, 2.0])
    magnitudes.count(tau)
    assert magnitudes.settled
    assert magnitudes.threshold().keep(tau)[0].sum() == kept


@pytest.mark.parametrize("bad", [math.nan, -math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_refused_and_counted_nowhere(bad: float) -> None:
    magnitudes = Magnitudes(0.5)
    magnitudes.count(torch.tensor([1.0, 2.0]))
    with pytest.raises(InputError, match="2 NaN or Inf among 3 entries"):
        magnitudes.count(torch.tensor([bad, 1.0, bad]))
    magnitudes.refine(torch.tensor([1.0, 2.0]))
    assert magnitudes.threshold() == Threshold(0x40000000, 1)


def test_a_second_pass_over_something_else_is_refused() -> None:
    magnitudes = Magnitudes(0.5)
    magnitudes.count(torch.tensor([1.0, 2.0, 3.0, 4.0]))
    with pytest.raises(InputError, match="differ"):
        magnitudes.threshold()


@pytest.mark.parametrize("share", [-0.1, 1.1, math.nan])
def test_a_share_out_of_range_is_refused(share: float) -> None:
    with pytest.raises(InputError, match="out of range"):
        Magnitudes(share)
