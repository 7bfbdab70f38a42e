"""Which tiles for which shape: a function of shapes and dtype alone, so that results repeat on every machine.

Set for an H200 (132 processors, 4.3 TB/s) from bytes: none of these kernels does enough arithmetic to be bound by it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from semi_kernels.tiles import ceil_div, power_of_two

PROGRAMS = 264
"""Two for each processor of an H200."""
ENOUGH = 100
"""Programs that draw the full bandwidth, at 36 KiB in flight each; a second launch, to add parts of K, costs more."""
STAGE = 16 * 1024
"""Bytes that one step of a loop loads, at most. With 4 steps a program holds up to 64 KiB, all that gfx942 has and a
quarter of an H200's, and one program a processor has more in flight than the 26 KiB that 4.3 TB/s over 0.8 us take."""
RANKED = 8192
"""Most rows to be put in order by comparing all pairs: 67 million comparisons, about 5 us of an H200."""

BLOCK = 1024
"""Elements to a program that adds partial sums."""


@dataclass(frozen=True)
class Tiles:
    """Block sizes of one launch."""

    rows: int
    columns: int
    rank: int
    parts: int = 1
    """grouped_down: parts of K summed apart. grouped_outer: rows to a partial sum, 0 for no partial sums."""
    num_warps: int = 4
    num_stages: int = 4


def down(M: int, K: int, r: int, dtype: torch.dtype) -> Tiles:
    """(M, K) (G, K, r): more rows read A less often, parts of K keep all processors busy when rows are few."""
    wide = dtype.itemsize == 4  # without tensor cores: small tiles, or they spill
    rank = power_of_two(r, 16, 64 if wide else 128)
    rows = 16 if M <= 256 else 32 if M <= 2048 or wide else 64
    columns = _floor(STAGE // ((rows + rank) * dtype.itemsize), 32, 128)
    parts = 1
    ranks = ceil_div(r, rank)
    while parts < 8 and (M // rows + 1) * ranks * parts < ENOUGH and 1024 * parts <= K:
        parts *= 2
    return Tiles(rows, columns, rank, parts, 4, 4)


def up(M: int, N: int, r: int, dtype: torch.dtype) -> Tiles:
    """(M, r) (G, r, N): as many rows as leave every processor two programs."""
    wide = dtype.itemsize == 4
    columns = power_of_two(N, 32, 64 if wide else 128)
    rows = next((n for n in ((32,) if wide else (64, 32)) if M // n * ceil_div(N, columns) >= PROGRAMS), 16)
    if rows == 16:
        columns = max(columns // 2, 32)
    # 64 of the rank beside many rows: an adapter of odd width, read transposed, takes more registers than there are
    rank = power_of_two(r, 16, 64 if rows == 16 and not wide else 32)
    return Tiles(rows, columns, rank, 1, 8 if rows == 64 else 4, 2)


def outer(M: int, K: int, r: int, dtype: torch.dtype) -> Tiles:
    """(M, K)^T (M, r) by group: partial sums only where groups could hold so many rows that few programs would wait."""
    wide = dtype.itemsize == 4
    rank = power_of_two(r, 16, 32 if wide else 256)
    columns = 32 if wide else 128 if K >= 4096 and M > 1024 and rank <= 64 else 64
    rows = _floor(STAGE // ((columns + rank) * dtype.itemsize), 16, 64)
    programs = ceil_div(K, columns) * ceil_div(r, rank)
    chunk = max(512, -(-M * programs // PROGRAMS // rows) * rows)
    # Rows wait for their numbers, so two stages make one buffer: seven keep three, as four do in `down` (seen).
    return Tiles(rows, columns, rank, chunk if chunk < M else 0, 8 if rank == 256 else 4, 7)


def _floor(n: int, low: int, high: int) -> int:
    return min(high, max(low, 1 << (n.bit_length() - 1)))
