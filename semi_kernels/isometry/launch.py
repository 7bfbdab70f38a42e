"""Launching the kernels of isometries: one launch each, over the rows."""

from __future__ import annotations

from torch import Tensor

from semi_kernels import dispatch
from semi_kernels.tiles import ceil_div, power_of_two

TILE = 1024
"""Entries that a program permutes at a time."""


def signed_permutation(x: Tensor, index: Tensor, inverse: Tensor, sign: Tensor, undo: bool) -> Tensor:
    """Of the rows of x (..., d), in one launch; undo: the inverse."""
    from semi_kernels.isometry.kernel import _signed_permutation

    rows, y = _rows(x)
    M, d = rows.shape
    if M:
        tile = _permuted(d)
        with dispatch.device_of(y):
            _signed_permutation[(ceil_div(M, tile["BM"]),)](
                rows, *rows.stride(), (inverse if undo else index).contiguous(), sign.contiguous(), y, M, d, undo,
                **tile, num_warps=4, num_stages=1, enable_fp_fusion=False,
            )  # fmt: skip
    return y


def hadamard(x: Tensor, index: Tensor, inverse: Tensor, sign: Tensor, undo: bool) -> Tensor:
    """All rounds of the rows of x (..., d <= 4096), in one launch: index, inverse and sign (rounds, d)."""
    from semi_kernels.isometry.kernel import _hadamard

    rows, y = _rows(x)
    M, d = rows.shape
    if M:
        tile, warps = _mixed(d)
        with dispatch.device_of(y):
            _hadamard[(ceil_div(M, tile["R"]),)](
                rows, *rows.stride(), (inverse if undo else index).contiguous(), sign.contiguous(), y, M, len(index),
                d, undo, **tile, num_warps=warps, num_stages=1, enable_fp_fusion=False,
            )  # fmt: skip
    return y


def householder(x: Tensor, v: Tensor, t: Tensor, undo: bool) -> Tensor:
    """x - (x V) T V^T of the rows of x (..., d), in one launch: V (d, k), T (k, k), k <= 64; undo: T^T."""
    from semi_kernels.isometry.kernel import _householder

    rows, y = _rows(x)
    M, d = rows.shape
    if M:
        tile = _reflected(v.shape[1])
        with dispatch.device_of(y):
            _householder[(ceil_div(M, tile["BM"]),)](
                rows, *rows.stride(), v.contiguous(), t.contiguous(), y, M, d, v.shape[1], undo, **tile,
                num_warps=4, num_stages=1, enable_fp_fusion=False,
            )  # fmt: skip
    return y


def _rows(x: Tensor) -> tuple[Tensor, Tensor]:
    """x as (M, d), a view where its strides allow, and an output of its shape."""
    return x.reshape(x.shape[:-1].numel(), x.shape[-1]), x.new_empty(x.shape)


def _permuted(d: int) -> dict[str, int]:
    columns = min(1024, power_of_two(d))
    return {"BM": TILE // columns, "BK": columns}


def _mixed(d: int) -> tuple[dict[str, int], int]:
    """The tile and its warps: 16 entries a thread, and several short rows a program."""
    columns = power_of_two(d)
    rows = max(1, 1024 // columns)
    return {"R": rows, "K2": columns}, rows * columns // (32 * 16)


def _reflected(k: int) -> dict[str, int]:
    return {"BM": 16, "BK": 64 if k <= 32 else 32, "KP": power_of_two(k)}
