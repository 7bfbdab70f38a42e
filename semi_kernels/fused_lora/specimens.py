"""A covering selection of calls: every shipped configuration, and every branch of the kernel."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch

from semi_kernels.fused_lora.launch import few_rows_forward
from semi_kernels.specimens import Specimen, empty, strided, weight

WIDE, NARROW = 32768, 2048
"""Columns of a layer that fill every processor with the widest tile of a configuration, and with the narrowest."""


def specimens() -> Iterator[Specimen]:
    """See `Specimen`."""
    for N in (NARROW, WIDE):
        for M in (1, 32, 128):
            yield _call("dense", "bf16", M, N)
            yield _call("nf4_nested", "bf16", M, N)
    for M, N in ((16, WIDE), (128, NARROW)):
        yield _call("nf4", "bf16", M, N, save=True)
        yield _call("q4_1", "bf16", M, N)
        yield _call("dense", "fp16", M, N)
        yield _call("nf4_nested", "fp16", M, N)
        yield _call("dense", "fp32", M, N, K=768)
        yield _call("nf4_nested", "fp32", M, N, K=768)
    yield _call("none", "bf16", 16, NARROW)
    yield _call("nf4", "bf16", 16, NARROW, K=1100)  # blocks straddle rows
    for rank in (0, 8, 128, 256):
        yield _call("nf4_nested", "bf16", 16, 4096, rank=rank)
    yield _call("dense", "bf16", 128, 4096, rank=256)
    for M in (16, 128):
        yield _call("dense", "bf16", M, NARROW, K=1536, kind="householder")
        yield _call("nf4_nested", "bf16", M, NARROW, K=1536, kind="signed_permutation")
        yield _call("dense", "bf16", M, NARROW, K=1536, groups=3)
    yield _call("nf4_nested", "bf16", 16, NARROW, rank=128, groups=17)
    yield _call("dense", "bf16", 16, NARROW, K=1536, kind="householder", reflections=64)
    for K in (768, 4096):
        yield _call("dense", "bf16", 16, NARROW, K=K, kind="hadamard")
    yield _call("dense", "bf16", 16, NARROW, parts=4)
    yield _call("dense", "bf16", 5, 1001, K=777, rank=7, aligned=False)
    yield _call("nf4", "fp32", 1, 1, K=1, rank=1)


def _call(
    layout: str,
    dtype: str,
    M: int,
    N: int,
    *,
    K: int = 4096,
    rank: int = 32,
    kind: str = "none",
    reflections: int = 8,
    groups: int = 1,
    parts: int = 0,
    save: bool = False,
    aligned: bool = True,
) -> Specimen:
    new = empty if aligned else strided
    adapter: list[Any] = [None, None, None]
    if rank:
        adapter = [new(groups, K, rank, dtype=dtype), new(groups, rank, N, dtype=dtype), new(groups, N, dtype=dtype)]
    isometry = {
        "none": [],
        "householder": [empty(K, reflections), empty(K, reflections), empty(reflections, reflections)],
        "signed_permutation": [empty(K, dtype=torch.int64), empty(K)],
        "hadamard": [empty(3, K, dtype=torch.int64), empty(3, K)],
    }[kind]
    rows = empty(M, dtype=torch.int64) if groups > 1 else None
    into = empty(4096, N // parts, dtype=dtype) if parts else None
    positions = empty(M, parts, dtype=torch.int64) if parts else None
    options = [kind] * (kind != "none") + [f"G={groups}"] * (groups > 1) + [f"parts={parts}"] * (parts > 0)
    options += ["save"] * save + ["unaligned"] * (not aligned)
    return Specimen(
        " ".join([layout, dtype, f"M={M} {K}->{N} r={rank}", *options]),
        partial(
            few_rows_forward, new(M, K, dtype=dtype), weight(layout, N, K, dtype), layout, N, adapter[0], adapter[1],
            empty(N, dtype=dtype), adapter[2], rows, isometry, kind, 0.5, "none" if parts else "gelu_tanh", save,
            into, positions,
        ),
    )  # fmt: skip
