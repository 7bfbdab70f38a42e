"""Comparing two runs."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from semi_kernels.bench import COLUMNS, compare, regressions


def run(*times: tuple[str, float | None, float], gpu: str | None = "NVIDIA H200") -> dict[str, Any]:
    """Rows of (provider, median, spread)."""
    rows = []
    for number, (provider, median, spread) in enumerate(times):
        row = {**dict.fromkeys(COLUMNS), "provider": provider, "M": number, "p50_us": median}
        if median is not None:
            row |= {"p20_us": median - spread, "p80_us": median + spread}
        rows.append(row)
    return {"gpu": gpu, "rows": rows}


def test_slower_beyond_noise_counts() -> None:
    old = run(("ours", 100, 2), ("ours", 100, 2), ("ours", 100, 20), ("ours", 100, 0.5), ("eager", 100, 2))
    new = run(("ours", 110, 2), ("ours", 80, 2), ("ours", 110, 20), ("ours", 102, 0.5), ("eager", 200, 2))
    found = compare(new, old)
    assert [change.row["M"] for change in regressions(found)] == [0]
    assert [round(change.ratio, 2) for change in found] == [0.5, 0.91, 0.91, 0.98, 1.25]
    assert [change.row["provider"] for change in found if change.slower] == ["eager", "ours"]


def test_the_same_run_is_not_slower() -> None:
    old = run(("ours", 100, 2))
    assert regressions(compare(deepcopy(old), old)) == []


def test_unmeasured_rows_do_not_count() -> None:
    found = compare(run(("ours", None, 0), ("ours", 5, 1)), run(("ours", 100, 2), ("ours", 5, 1)))
    assert [change.row["M"] for change in found] == [1]


@pytest.mark.parametrize(
    ("old", "says"),
    [(run(("ours", 100, 2), gpu=None), "no GPU"), (run(("eager", 100, 2)), "without one measured row")],
    ids=["another GPU", "nothing in common"],
)
def test_runs_that_cannot_be_compared(old: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        compare(run(("ours", 100, 2)), old)
