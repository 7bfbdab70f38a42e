"""Two runs beside each other: is anything of ours slower than it was?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from semi_kernels.bench.report import Row, key

SLOWER = 0.97
"""Old time over new time, below which a row counts as slower."""


@dataclass(frozen=True)
class Change:
    """A measurement that both runs have."""

    row: Row
    ratio: float
    """Old median / new median: above 1 is faster."""
    slower: bool
    """Below SLOWER, and the fastest fifth of the new run above the slowest fifth of the old one: more than noise."""


def compare(new: dict[str, Any], old: dict[str, Any]) -> list[Change]:
    """Rows measured in both runs, the worst first.

    Raises:
        ValueError: another GPU, or not one row in common.
    """
    if new["gpu"] != old.get("gpu"):
        here, there = new["gpu"] or "no GPU", old.get("gpu") or "no GPU"
        raise ValueError(f"bench: got a file measured with {there}, expected one measured with {here}")
    before = {key(row): row for row in old["rows"] if row["p50_us"] is not None}
    changes = []
    for row in new["rows"]:
        was = before.get(key(row))
        if was is None or row["p50_us"] is None:
            continue
        ratio = was["p50_us"] / row["p50_us"]
        changes.append(Change(row, ratio, ratio < SLOWER and row["p20_us"] > was["p80_us"]))
    if not changes:
        raise ValueError("bench: got a file without one measured row of this run, expected one of the same kernel")
    return sorted(changes, key=lambda change: change.ratio)


def regressions(changes: list[Change]) -> list[Change]:
    """Ours that became slower. When a peer did, the machine or the peer's version changed, not this library."""
    return [change for change in changes if change.slower and change.row["provider"] == "ours"]
