"""A covering selection of calls: every tile that the policy can choose, and every branch of the kernels."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch

from semi_kernels.grouped import launch
from semi_kernels.specimens import Specimen, empty, strided

GROUPS = 3


def specimens() -> Iterator[Specimen]:
    """See `Specimen`."""
    yield Specimen("order of rows", partial(launch.group_rows, empty(1024, dtype=torch.int64), GROUPS))
    for M, width, r, dtype in _cases():
        yield from _products(M, width, r, dtype)
    for dtype, r in (("bf16", 32), ("bf16", 256), ("fp32", 32)):  # as in backward
        yield from _products(8192, 4096, r, dtype, transposed=True, outer=False)
    yield from _products(64, 777, 7, "bf16", aligned=False)
    yield from _products(1, 2048, 1, "fp32")


def _cases() -> Iterator[tuple[int, int, int, str]]:
    """(M, width, r, dtype) that reach every branch of the policy. float16 compiles to what bfloat16 does."""
    for dtype in ("bf16", "fp32"):
        for r, M in ((16, 64), (32, 1024), (32, 8192), (64, 1024), (128, 64), (128, 8192), (256, 1024)):
            yield M, 4096, r, dtype
        yield 8192, 2048, 32, dtype
    yield 64, 4096, 256, "bf16"


def _products(
    M: int, width: int, r: int, dtype: str, *, transposed: bool = False, aligned: bool = True, outer: bool = True
) -> Iterator[Specimen]:
    new = empty if aligned else strided
    order, offsets = empty(M, dtype=torch.int32), empty(GROUPS + 1, dtype=torch.int32)
    x, s = new(M, width, dtype=dtype), new(M, r, dtype=dtype)
    A: Any = new(GROUPS, width, r, dtype=dtype)
    B: Any = new(GROUPS, r, width, dtype=dtype)
    if transposed:
        A, B = B.mT, A.mT
    label = f"{dtype} M={M} {width} r={r}{' transposed' if transposed else ''}{'' if aligned else ' unaligned'}"
    yield Specimen(label, partial(launch.grouped_down, x, A, order, offsets, 0.5))
    bias = new(GROUPS, width, dtype=dtype)
    yield Specimen(label, partial(launch.grouped_up, x, s, B, order, offsets, bias, 0.5, "gelu_tanh", True))
    if outer:
        yield Specimen(label, partial(launch.grouped_outer, x, s, order, offsets, True))
