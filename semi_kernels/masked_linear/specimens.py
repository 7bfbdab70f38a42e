"""A covering selection of calls: every layout, for few and more rows, and the weight written."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch

from semi_kernels.masked_linear.launch import masked_linear, masked_weight
from semi_kernels.specimens import DTYPES, Specimen, empty, strided, weight
from semi_kernels.tiles import ceil_div


def specimens() -> Iterator[Specimen]:
    """See `Specimen`."""
    for N in (2048, 32768):
        for M in (1, 32, 128):
            yield _linear("dense", "bf16", M, N)
    for M, N in ((16, 32768), (128, 2048)):
        yield _linear("nf4", "fp16", M, N)
        yield _linear("nf4_nested", "bf16", M, N)
        yield _linear("nf4_nested", "fp32", M, N)
        yield _linear("q4_1", "bf16", M, N)
        yield _linear("nf4_nested", "bf16", M, N, K=4100)
    yield _linear("dense", "bf16", 5, 1001, K=777, aligned=False)
    yield _linear("nf4", "fp32", 1, 1, K=1)
    for layout, dtype, K in (
        ("dense", "bf16", 4096), ("nf4", "bf16", 4096), ("nf4_nested", "bf16", 4096), ("q4_1", "bf16", 4096),
        ("nf4_nested", "bf16", 4100), ("nf4_nested", "fp32", 4096), ("nf4", "fp16", 1),
    ):  # fmt: skip
        yield _weight(layout, dtype, K)


def _linear(layout: str, dtype: str, M: int, N: int, *, K: int = 4096, aligned: bool = True) -> Specimen:
    new = empty if aligned else strided
    mask = empty(ceil_div(N * K, 8), dtype=torch.uint8)
    call = partial(
        masked_linear, new(M, K, dtype=dtype), weight(layout, N, K, dtype), layout, N, new(N, K, dtype=dtype), mask,
        empty(N), empty(N, dtype=dtype),
    )  # fmt: skip
    return Specimen(f"{layout} {dtype} M={M} {K}->{N}{'' if aligned else ' unaligned'}", call)


def _weight(layout: str, dtype: str, K: int, N: int = 4096) -> Specimen:
    mask = empty(ceil_div(N * K, 8), dtype=torch.uint8)
    parts = weight(layout, N, K, dtype)
    call = partial(masked_weight, parts, layout, N, K, empty(N, K, dtype=dtype), mask, empty(N), DTYPES[dtype])
    return Specimen(f"{layout} {dtype} ({N}, {K})", call)
