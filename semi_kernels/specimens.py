"""What the compile-only gate launches: calls of every launcher, on tensors that have shapes but no memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from semi_kernels.tiles import ceil_div

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}


@dataclass(frozen=True)
class Specimen:
    """A call whose launches are compiled instead of run, just as that call would have them."""

    label: str
    launch: Callable[[], object]


def empty(*shape: int, dtype: str | torch.dtype = torch.float32) -> Tensor:
    """A contiguous tensor without memory."""
    return torch.empty(shape, dtype=DTYPES.get(dtype) if isinstance(dtype, str) else dtype, device="meta")


def strided(*shape: int, dtype: str | torch.dtype = torch.float32) -> Tensor:
    """The same in the middle of another: it does not begin, nor do its rows, at a multiple of 16."""
    *leading, columns = shape
    return empty(*leading, columns + 3, dtype=dtype)[..., 1 : columns + 1]


def weight(layout: str, N: int, K: int, dtype: str) -> list[Tensor]:
    """The parts of a weight (N, K), as operations are handed them."""
    if layout == "none":
        return []
    if layout == "dense":
        return [empty(N, K, dtype=dtype)]
    packed = empty(ceil_div(N * K, 2), dtype=torch.uint8)
    if layout == "q4_1":
        return [packed, *(empty(N * K // 32, dtype=torch.float16) for _ in range(2))]
    blocks = ceil_div(N * K, 64)
    if layout == "nf4":
        return [packed, empty(blocks)]
    return [packed, empty(blocks, dtype=torch.uint8), empty(256), empty(ceil_div(blocks, 256)), empty()]
