"""Launching the kernels of isometries: one launch each, over the rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor

from semi_kernels.dispatch import Specimen

TILE = 1024
"""Entries that a program permutes at a time."""
WIDEST = 4096
"""Longest row that is mixed in registers: 16 entries a thread of 8 warps."""
MOST_REFLECTIONS = 64
"""Beyond, matrix products do better than one kernel: V T V^T costs what a dense matrix does."""


def signed_permutation(x: Tensor, index: Tensor, inverse: Tensor, sign: Tensor, undo: bool) -> Tensor:
    """Of the rows of x (..., d), in one launch; undo: the inverse."""
    from semi_kernels.isometry.kernel import _signed_permutation

    rows, y = _rows(x)
    M, d = rows.shape
    if M:
        tile = _permuted(d)
        _signed_permutation[(-(-M // tile["BM"]),)](
            rows, *rows.stride(), (inverse if undo else index).contiguous(), sign.contiguous(), y, M, d, undo, **tile,
            num_warps=4, num_stages=1, enable_fp_fusion=False,
        )  # fmt: skip
    return y


def hadamard(x: Tensor, index: Tensor, inverse: Tensor, sign: Tensor, undo: bool) -> Tensor:
    """All rounds of the rows of x (..., d <= 4096), in one launch: index, inverse and sign (rounds, d)."""
    from semi_kernels.isometry.kernel import _hadamard

    rows, y = _rows(x)
    M, d = rows.shape
    if M:
        tile, warps = _mixed(d)
        _hadamard[(-(-M // tile["R"]),)](
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
        _householder[(-(-M // tile["BM"]),)](
            rows, *rows.stride(), v.contiguous(), t.contiguous(), y, M, d, v.shape[1], undo, **tile,
            num_warps=4, num_stages=1, enable_fp_fusion=False,
        )  # fmt: skip
    return y


def _rows(x: Tensor) -> tuple[Tensor, Tensor]:
    """x as (M, d), a view where its strides allow, and an output of its shape."""
    return x.reshape(x.shape[:-1].numel(), x.shape[-1]), x.new_empty(x.shape)


def _padded(n: int) -> int:
    """The least power of two that holds n, from 16 on: what a tile's side may be."""
    return max(16, 1 << (n - 1).bit_length())


def _permuted(d: int) -> dict[str, int]:
    columns = min(1024, _padded(d))
    return {"BM": TILE // columns, "BK": columns}


def _mixed(d: int) -> tuple[dict[str, int], int]:
    """The tile and its warps: 16 entries a thread, and several short rows a program."""
    columns = _padded(d)
    rows = max(1, 1024 // columns)
    return {"R": rows, "K2": columns}, rows * columns // (32 * 16)


def _reflected(k: int) -> dict[str, int]:
    return {"BM": 16, "BK": 64 if k <= 32 else 32, "KP": _padded(k)}


_POINTERS = ("bf16", "fp16", "fp32")


def specimens() -> Iterator[Specimen]:
    """Every tile: for the Hadamard, widths of one block and of as many as there are bits, done and undone."""
    from semi_kernels.isometry.kernel import _hadamard, _householder, _signed_permutation

    for dtype in _POINTERS:
        types = {"x_ptr": f"*{dtype}", "y_ptr": f"*{dtype}", "index_ptr": "*i64", "sign_ptr": "*fp32"}
        types |= {"v_ptr": "*fp32", "t_ptr": "*fp32"}
        for d in (64, 4096):
            for undo in (False, True):
                tile = _permuted(d) | {"UNDO": undo}
                yield _specimen(_signed_permutation, f"{dtype} d={d} undo={undo}", types, tile, 4)
        for k in (8, 24, 64):
            yield _specimen(_householder, f"{dtype} k={k}", types, _reflected(k) | {"UNDO": False}, 4)
    for dtype, d in (("bf16", 63), ("fp16", 768), ("bf16", 1023), ("bf16", 1536), ("bf16", 4095), ("bf16", 4096)):
        for undo in (False, True):
            types |= {"x_ptr": f"*{dtype}", "y_ptr": f"*{dtype}"}
            tile, warps = _mixed(d)
            yield _specimen(_hadamard, f"{dtype} d={d} undo={undo}", types, tile | {"d": d, "UNDO": undo}, warps)


def _specimen(kernel: Any, label: str, types: dict[str, str], constants: dict[str, Any], warps: int) -> Specimen:
    """With rows that are contiguous; arguments that are neither constants nor have a type here are integers."""
    constants = {"x_column": 1} | constants
    signature = {n: "constexpr" if n in constants else types.get(n, "i32") for n in kernel.arg_names}
    return Specimen(kernel, label, signature, constants, warps, 1)
