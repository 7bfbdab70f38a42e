"""Which way a layer is computed: the table of KERNELS section 3 as a function of plain numbers."""

from __future__ import annotations

from typing import Literal

from semi_kernels.dispatch import FEW_ROWS, MOST_REFLECTIONS, WIDEST_MIXED

LARGEST_RANK = 256
"""A ridge adapter's rank is its number of pairs; beyond this, x A no longer fits beside a tile of y."""

Plan = Literal["reference", "one launch", "merge", "add", "grouped"]


def forward(
    *,
    M: int,
    K: int,
    rank: int,
    groups: int,
    layout: str,
    isometry: str,
    reflections: int,
    learning: bool,
    kernels: bool,
) -> Plan:
    """The plan for M rows.

    "one launch": everything in one kernel. "merge": decode the 4-bit weight with the adapter in it, then one GEMM; for
    inference only, because rounding the sum drowns the *difference* a small adapter makes. "add": GEMM, and the adapter
    accumulated onto it. "grouped": GEMM, and each row's adapter added over rows sorted by adapter.
    """
    if not kernels:
        return "reference"
    small = M <= FEW_ROWS and rank <= LARGEST_RANK and reflections <= MOST_REFLECTIONS
    if small and (isometry != "hadamard" or K <= WIDEST_MIXED):
        return "one launch"
    if groups > 1:
        return "grouped"
    if layout in ("nf4", "nf4_nested", "q4_1") and rank and not learning:
        return "merge"
    return "add"
