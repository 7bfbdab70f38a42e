"""A covering selection of calls: every layout and output, decoded and merged, with blocks that straddle rows."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from semi_kernels.dequantise.launch import dequantise
from semi_kernels.specimens import DTYPES, Specimen, empty, strided, weight


def specimens() -> Iterator[Specimen]:
    """See `Specimen`."""
    for layout, dtype in (("nf4", "bf16"), ("nf4_nested", "fp16"), ("nf4_nested", "fp32"), ("q4_1", "bf16")):
        yield _call(layout, dtype, 4096)
    yield _call("nf4", "bf16", 1, N=1)
    yield _call("dense", "bf16", 4096, rank=32)
    yield _call("dense", "fp32", 4096, rank=256)
    yield _call("nf4", "bf16", 4096, rank=256)
    yield _call("nf4_nested", "bf16", 4096, rank=32)
    yield _call("nf4_nested", "fp32", 4096, rank=16)
    yield _call("nf4_nested", "bf16", 4100, rank=32)
    yield _call("q4_1", "bf16", 4096, rank=128)
    yield _call("q4_1", "fp32", 4096, rank=16)
    yield _call("dense", "bf16", 777, rank=7, aligned=False)
    yield _call("nf4", "fp16", 1, N=1, rank=1)


def _call(layout: str, dtype: str, K: int, *, N: int = 4096, rank: int = 0, aligned: bool = True) -> Specimen:
    new = empty if aligned else strided
    A, B = (new(K, rank, dtype=dtype), new(rank, N, dtype=dtype)) if rank else (None, None)
    label = " ".join([layout, dtype, f"({N}, {K}) r={rank}", *(["unaligned"] * (not aligned))])
    return Specimen(label, partial(dequantise, weight(layout, N, K, dtype), layout, N, K, A, B, 0.5, DTYPES[dtype]))
