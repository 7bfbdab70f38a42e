"""The choice of tiles: a function of shapes, within what every target holds, that keeps processors busy."""

from __future__ import annotations

import pytest
import torch

from semi_kernels.grouped import policy

ROWS = (1, 64, 300, 1024, 8192, 100_000)
WIDTHS = (1, 77, 768, 4096, 14336)
SHARED = 64 * 1024
"""Bytes a program has on gfx942, the least of all targets."""


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("r", [1, 7, 24, 128, 256])
def test_tiles_fit_every_target(r: int, dtype: torch.dtype) -> None:
    for M in ROWS:
        for width in WIDTHS:
            t = policy.down(M, width, r, dtype)
            assert (t.rows + t.rank) * t.columns * dtype.itemsize * t.num_stages <= SHARED
            u = policy.up(M, width, r, dtype)
            assert (u.rows + u.columns) * u.rank * dtype.itemsize * u.num_stages <= SHARED
            o = policy.outer(M, width, r, dtype)
            assert (o.columns + o.rank) * o.rows * dtype.itemsize * (o.num_stages - 1) // 2 <= SHARED
            for tiles in (t, u, o):
                assert min(tiles.rows, tiles.columns, tiles.rank) >= 16  # the least a product takes


@pytest.mark.parametrize(
    ("M", "K", "parts"),
    [(16, 4096, 8), (256, 4096, 8), (1024, 4096, 4), (4096, 4096, 2), (8192, 4096, 1), (16, 768, 1)],
)
def test_k_is_summed_in_parts_where_rows_are_few(M: int, K: int, parts: int) -> None:
    assert policy.down(M, K, 32, torch.bfloat16).parts == parts


@pytest.mark.parametrize(("M", "rows"), [(1, 16), (256, 16), (1024, 64), (8192, 64)])
def test_more_rows_share_an_adapter_where_rows_are_many(M: int, rows: int) -> None:
    assert policy.up(M, 4096, 32, torch.bfloat16).rows == rows


@pytest.mark.parametrize("M", ROWS)
def test_partial_sums_hold_whole_steps_and_are_not_made_for_few_rows(M: int) -> None:
    t = policy.outer(M, 4096, 32, torch.bfloat16)
    assert (t.parts > 0) == (M > 512)
    assert t.parts % t.rows == 0
    assert M * 128 / 4096 < 264 or t.parts >= 512  # no more partial sums than programs are wanted
