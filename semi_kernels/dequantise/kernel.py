"""Packed weights to dense ones, with or without an adapter merged in. Compiled without fused multiply-adds."""

from __future__ import annotations

import triton
import triton.language as tl

from semi_kernels.device import _block_scales, _decode_nf4, _dot, _load_pairs, _load_straddling, _round, _upcast


@triton.jit
def _decode(
    w_ptr, scales_ptr, extra_ptr, scales2_ptr, offset_ptr, table_ptr, out_ptr, size, entries, blocks,
    LAYOUT: tl.constexpr, BLOCKS: tl.constexpr,
):  # fmt: skip
    """A program decodes BLOCKS blocks of the flat weight, whose `size` bytes hold `entries` entries, to `out`.

    Flat, every shape is regular: blocks are whole bytes even where they straddle rows.
    """
    HALF: tl.constexpr = 16 if LAYOUT == "q4_1" else 32  # bytes of a block
    block = tl.program_id(0).to(tl.int64) * BLOCKS + tl.arange(0, BLOCKS)
    byte = block[:, None] * HALF + tl.arange(0, HALF)[None, :]
    packed = tl.load(w_ptr + byte, mask=byte < size, other=0).to(tl.int32)
    if LAYOUT == "q4_1":
        scale = tl.load(scales_ptr + block, mask=block < blocks, other=0.0).to(tl.float32)[:, None]
        least = tl.load(extra_ptr + block, mask=block < blocks, other=0.0).to(tl.float32)[:, None]
        high = scale * (packed >> 4).to(tl.float32) + least
        low = scale * (packed & 15).to(tl.float32) + least
    else:
        scale = _block_scales(
            scales_ptr, extra_ptr, scales2_ptr, offset_ptr, block, block < blocks, LAYOUT == "nf4_nested"
        )
        table = tl.load(table_ptr + tl.arange(0, 16))
        high = _decode_nf4(table, packed >> 4) * scale[:, None]
        low = _decode_nf4(table, packed & 15) * scale[:, None]
    entry = block[:, None] * (2 * HALF) + tl.arange(0, 2 * HALF)[None, :]
    w = tl.interleave(_round(high, out_ptr.dtype.element_ty), _round(low, out_ptr.dtype.element_ty))
    tl.store(out_ptr + entry, w, mask=entry < entries)


@triton.jit
def _merge(
    w_ptr, w_row, w_column, scales_ptr, extra_ptr, scales2_ptr, offset_ptr, table_ptr,
    a_ptr, a_row, a_column, b_ptr, b_row, b_column, out_ptr, scale, R,
    N: tl.constexpr, K: tl.constexpr, LAYOUT: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, BR: tl.constexpr,
):  # fmt: skip
    """out (N, K) = deq(W) + scale (A B)^T, a tile (BN, BK) a program; A (K, R) and B (R, N) by BR of their rank."""
    start = tl.program_id(0) * BK
    n = tl.program_id(1) * BN + tl.arange(0, BN)
    k = start + tl.arange(0, BK)
    acc = tl.zeros((BN, BK), tl.float32)
    for first in range(0, R, BR):
        r = first + tl.arange(0, BR)
        b = tl.load(
            b_ptr + r[None, :] * b_row + n[:, None].to(tl.int64) * b_column,
            mask=(n < N)[:, None] & (r < R)[None, :],
            other=0.0,
        )
        a = tl.load(
            a_ptr + k[None, :].to(tl.int64) * a_row + r[:, None] * a_column,
            mask=(r < R)[:, None] & (k < K)[None, :],
            other=0.0,
        )
        acc = _dot(b, a, acc)
    w = _load_weight(
        w_ptr,
        w_row,
        w_column,
        scales_ptr,
        extra_ptr,
        scales2_ptr,
        offset_ptr,
        table_ptr,
        n,
        start,
        N,
        K,
        LAYOUT,
        BN,
        BK,
    )
    out = out_ptr + n[:, None].to(tl.int64) * K + k[None, :]
    mask = (n < N)[:, None] & (k < K)[None, :]
    tl.store(out, _round(w + scale * acc, out_ptr.dtype.element_ty), mask=mask)


@triton.jit
def _load_weight(
    w_ptr, w_row, w_column, scales_ptr, extra_ptr, scales2_ptr, offset_ptr, table_ptr, n, start,
    N: tl.constexpr, K: tl.constexpr, LAYOUT: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """Rows n (BN,), columns start .. start + BK of a weight in any layout, float32."""
    k = start + tl.arange(0, BK)
    if LAYOUT == "dense":
        mask = (n < N)[:, None] & (k < K)[None, :]
        at = w_ptr + n[:, None].to(tl.int64) * w_row + k[None, :].to(tl.int64) * w_column
        return _upcast(tl.load(at, mask=mask, other=0.0)).to(tl.float32)
    elif LAYOUT == "q4_1" or K % 64 == 0:
        even, odd = _load_pairs(
            w_ptr, scales_ptr, extra_ptr, scales2_ptr, offset_ptr, table_ptr, n, start, N, K, LAYOUT, BN, BK // 2
        )
        return tl.interleave(even, odd)
    else:
        return _load_straddling(w_ptr, scales_ptr, extra_ptr, scales2_ptr, offset_ptr, table_ptr, n, k, N, K, LAYOUT)
