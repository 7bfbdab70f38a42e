"""How a batch is shared out."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from semi.training.processes import ALONE, share

COSTS = st.lists(st.integers(1, 9), min_size=1, max_size=40)


@given(costs=COSTS, count=st.integers(1, 12))
def test_every_item_is_one_process_s_and_the_costs_are_alike(costs: list[int], count: int) -> None:
    parts = [share(costs, number, count) for number in range(count)]
    items = [i for part in parts if part.weight for i in range(part.start, part.stop)]
    assert items == list(range(len(costs)))
    for part in parts:
        assert part.weight in (0, 1)
        assert costs[part.slice]  # a process without a share computes another's item, for nothing
        if part.weight:
            assert sum(costs[part.slice]) <= sum(costs) / count + max(costs)


@given(costs=COSTS)
def test_one_process_has_it_all(costs: list[int]) -> None:
    assert ALONE.share(costs) == (0, len(costs), 1)
