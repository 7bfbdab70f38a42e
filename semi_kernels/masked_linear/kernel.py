"""A frozen weight plus a masked task vector: never whole in memory for few rows, written once for many."""

from __future__ import annotations

import triton
import triton.language as tl

from semi_kernels.device import _dot, _load_pairs, _load_straddling, _narrow, _round, _upcast


@triton.jit(do_not_specialize=["M"])
def _masked_linear(
    x_ptr, x_row, x_column,
    w_ptr, w_row, w_column, scales_ptr, extra_ptr, scales2_ptr, offset_ptr, table_ptr,
    tau_ptr, tau_row, tau_column, mask_ptr, scale_ptr, bias_ptr, y_ptr, M,
    N: tl.constexpr, K: tl.constexpr, LAYOUT: tl.constexpr, HAS_SCALE: tl.constexpr, HAS_BIAS: tl.constexpr,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """y = x (deq(W0) + m * scale * tau)^T + bias: BM rows of BN columns a program. Strides are in elements."""
    n = tl.program_id(0) * BN + tl.arange(0, BN)
    m = tl.program_id(1) * BM + tl.arange(0, BM).to(tl.int64)
    dtype: tl.constexpr = x_ptr.dtype.element_ty
    acc = tl.zeros((BM, BN), tl.float32)
    for start in range(0, K, BK):
        k = start + tl.arange(0, BK)
        x_mask = (m < M)[:, None] & (k < K)[None, :]
        x = _upcast(tl.load(x_ptr + m[:, None] * x_row + k[None, :].to(tl.int64) * x_column, mask=x_mask, other=0.0))
        step = _load_step(tau_ptr, tau_row, tau_column, mask_ptr, scale_ptr, n, start, N, K, HAS_SCALE, BN, BK)
        if LAYOUT == "q4_1" or (LAYOUT != "dense" and K % 64 == 0):
            even, odd = _load_pairs(w_ptr, scales_ptr, extra_ptr, scales2_ptr, offset_ptr, table_ptr,
                                    n, start, N, K, LAYOUT, BN, BK // 2)  # fmt: skip
            step_even, step_odd = tl.split(tl.reshape(step, (BN, BK // 2, 2)))
            x_even, x_odd = tl.split(tl.reshape(x, (BM, BK // 2, 2)))
            acc = _dot(x_even, tl.trans(_narrow(even + step_even, dtype)), acc)
            acc = _dot(x_odd, tl.trans(_narrow(odd + step_odd, dtype)), acc)
        else:
            w = _load_whole(w_ptr, w_row, w_column, scales_ptr, extra_ptr, scales2_ptr, offset_ptr, table_ptr,
                            n, k, N, K, LAYOUT)  # fmt: skip
            acc = _dot(x, tl.trans(_narrow(w + step, dtype)), acc)
    if HAS_BIAS:
        acc += tl.load(bias_ptr + n, mask=n < N, other=0.0).to(tl.float32)[None, :]
    y = y_ptr + m[:, None] * N + n[None, :]
    tl.store(y, _round(acc, y_ptr.dtype.element_ty), mask=(m < M)[:, None] & (n < N)[None, :])


@triton.jit
def _masked_weight(
    w_ptr, w_row, w_column, scales_ptr, extra_ptr, scales2_ptr, offset_ptr, table_ptr,
    tau_ptr, tau_row, tau_column, mask_ptr, scale_ptr, out_ptr,
    N: tl.constexpr, K: tl.constexpr, LAYOUT: tl.constexpr, HAS_SCALE: tl.constexpr,
    BN: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """out (N, K) = deq(W0) + m * scale * tau, a tile (BN, BK) a program."""
    start = tl.program_id(0) * BK
    n = tl.program_id(1) * BN + tl.arange(0, BN)
    k = start + tl.arange(0, BK)
    step = _load_step(tau_ptr, tau_row, tau_column, mask_ptr, scale_ptr, n, start, N, K, HAS_SCALE, BN, BK)
    if LAYOUT == "q4_1" or (LAYOUT != "dense" and K % 64 == 0):
        even, odd = _load_pairs(w_ptr, scales_ptr, extra_ptr, scales2_ptr, offset_ptr, table_ptr,
                                n, start, N, K, LAYOUT, BN, BK // 2)  # fmt: skip
        step_even, step_odd = tl.split(tl.reshape(step, (BN, BK // 2, 2)))
        dtype: tl.constexpr = out_ptr.dtype.element_ty
        w = tl.interleave(_round(even + step_even, dtype), _round(odd + step_odd, dtype))
    else:
        whole = _load_whole(w_ptr, w_row, w_column, scales_ptr, extra_ptr, scales2_ptr, offset_ptr, table_ptr,
                            n, k, N, K, LAYOUT)  # fmt: skip
        w = _round(whole + step, out_ptr.dtype.element_ty)
    out = out_ptr + n[:, None].to(tl.int64) * K + k[None, :]
    tl.store(out, w, mask=(n < N)[:, None] & (k < K)[None, :])


@triton.jit
def _load_step(
    tau_ptr, tau_row, tau_column, mask_ptr, scale_ptr, n, start,
    N: tl.constexpr, K: tl.constexpr, HAS_SCALE: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """m * scale * tau of rows n (BN,), columns start .. start + BK, float32."""
    k = start + tl.arange(0, BK)
    inside = (n < N)[:, None] & (k < K)[None, :]
    row = n[:, None].to(tl.int64)
    at = tau_ptr + row * tau_row + k[None, :].to(tl.int64) * tau_column
    tau = _upcast(tl.load(at, mask=inside, other=0.0)).to(tl.float32)
    if K % 8 == 0:  # a row is whole bytes: load each once, and spread its bits
        byte = start // 8 + tl.arange(0, BK // 8)
        there = (n < N)[:, None] & (byte < K // 8)[None, :]
        packed = tl.load(mask_ptr + row * (K // 8) + byte[None, :], mask=there, other=0).to(tl.int32)
        bits = packed[:, :, None] >> tl.arange(0, 8)[None, None, :]
        kept = tl.reshape(bits, (BN, BK))
    else:
        entry = row * K + k[None, :]
        packed = tl.load(mask_ptr + entry // 8, mask=inside, other=0).to(tl.int32)
        kept = packed >> (entry % 8).to(tl.int32)
    step = tl.where((kept & 1) == 1, tau, 0.0)
    if HAS_SCALE:
        step = step * tl.load(scale_ptr + n, mask=n < N, other=0.0).to(tl.float32)[:, None]
    return step


@triton.jit
def _load_whole(
    w_ptr, w_row, w_column, scales_ptr, extra_ptr, scales2_ptr, offset_ptr, table_ptr, n, k,
    N: tl.constexpr, K: tl.constexpr, LAYOUT: tl.constexpr,
):  # fmt: skip
    """Rows n, columns k of a weight that is dense, or whose blocks straddle rows; float32 (BN, BK)."""
    if LAYOUT == "dense":
        at = w_ptr + n[:, None].to(tl.int64) * w_row + k[None, :].to(tl.int64) * w_column
        w = _upcast(tl.load(at, mask=(n < N)[:, None] & (k < K)[None, :], other=0.0)).to(tl.float32)
    else:
        w = _load_straddling(w_ptr, scales_ptr, extra_ptr, scales2_ptr, offset_ptr, table_ptr, n, k, N, K, LAYOUT)
    return w
