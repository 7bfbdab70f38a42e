"""A covering selection of calls: every tile; Hadamard of one block and of as many as there are bits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor

from semi_kernels.isometry.launch import hadamard, householder, signed_permutation
from semi_kernels.specimens import DTYPES, Specimen, empty, strided


def specimens() -> Iterator[Specimen]:
    """See `Specimen`."""
    for dtype, d, undo in (("bf16", 64, False), ("fp16", 1536, True), ("fp32", 4096, False), ("bf16", 1, True)):
        yield _permuted(signed_permutation, dtype, d, undo, ())
    for dtype, k in (*((dtype, k) for dtype in DTYPES for k in (8, 64)), ("bf16", 24), ("bf16", 1)):
        x, v, t = empty(512, 1536, dtype=dtype), empty(1536, k), empty(k, k)
        yield Specimen(f"{dtype} d=1536 k={k}", partial(householder, x, v, t, k == 24))
    for dtype, d, undo in (
        ("bf16", 63, False), ("fp16", 768, True), ("bf16", 1023, False), ("bf16", 1536, True), ("bf16", 4095, False),
        ("fp32", 4095, True), ("bf16", 4096, False),
    ):  # fmt: skip
        yield _permuted(hadamard, dtype, d, undo, (3,))
    yield Specimen("strided", partial(householder, strided(5, 77), empty(77, 7), empty(7, 7), False))


def _permuted(launch: Callable[..., object], dtype: str, d: int, undo: bool, rounds: tuple[int, ...]) -> Specimen:
    def index() -> Tensor:
        return empty(*rounds, d, dtype=torch.int64)

    call = partial(launch, empty(512, d, dtype=dtype), index(), index(), empty(*rounds, d), undo)
    return Specimen(f"{dtype} d={d}{' undone' if undo else ''}", call)
