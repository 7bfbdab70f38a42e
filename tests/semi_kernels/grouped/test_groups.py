"""Rows in the order of their groups, by the kernel and by sorting."""

from __future__ import annotations

import pytest
import torch

from semi_kernels.grouped import Groups, launch, reference
from tests.semi_kernels.numerics import guarded


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64], ids=["int32", "int64"])
@pytest.mark.parametrize("G", [1, 3, 17, 140])
@pytest.mark.parametrize("M", [0, 1, 2, 16, 129, 300])
@pytest.mark.parametrize("implementation", [launch, reference], ids=["kernel", "reference"])
def test_order_is_stable_and_offsets_bound_groups(implementation: object, M: int, G: int, dtype: torch.dtype) -> None:
    rows = guarded(torch.randint(0, G, (M,), generator=torch.Generator().manual_seed(M), dtype=dtype))
    order, offsets = implementation.group_rows(rows, G)  # type: ignore[attr-defined]
    assert order.dtype == offsets.dtype == torch.int32
    assert torch.equal(order.long(), torch.argsort(rows, stable=True))
    assert torch.equal(offsets[1:].long(), torch.bincount(rows, minlength=G).cumsum(0))
    assert int(offsets[0]) == 0


def test_rows_that_are_a_view() -> None:
    rows = torch.tensor([2, -7, 0, -7, 1, -7])[::2]
    assert Groups.of(rows, 3).order.tolist() == [1, 2, 0]


def test_more_rows_than_are_compared_are_sorted() -> None:
    rows = torch.randint(0, 40_000, (9000,), generator=torch.Generator().manual_seed(0))
    groups = Groups.of(rows, 40_000)
    assert groups.count == 40_000
    assert torch.equal(groups.order.long(), torch.argsort(rows, stable=True))


@pytest.mark.parametrize("bad", [3, -1])
def test_rows_out_of_range_are_refused(bad: int) -> None:
    with pytest.raises(ValueError, match=rf"got rows from {min(bad, 0)} to {max(bad, 0)}, expected 0 to 2"):
        Groups.of(torch.tensor([0, bad]), 3)


def test_what_is_no_map_of_rows_is_refused() -> None:
    with pytest.raises(TypeError, match=r"got rows of torch.float32, expected int32 or int64"):
        Groups.of(torch.zeros(3), 2)
    with pytest.raises(ValueError, match=r"got rows of shape \(3, 1\), expected \(M,\)"):
        Groups.of(torch.zeros(3, 1, dtype=torch.int32), 2)
    with pytest.raises(ValueError, match=r"got G = 0, expected at least 1"):
        Groups.of(torch.zeros(3, dtype=torch.int32), 0)
