"""The whole layer in one launch, for few rows: isometry, base weight of any storage, adapter, biases, activation.

A program computes BM rows of BN columns. While the weight is what costs, every program may repeat what is small: the
isometry of its rows, and x A.
"""

from __future__ import annotations

import triton
import triton.language as tl

from semi_kernels.device import _dot, _gelu_tanh, _load_pairs, _load_straddling, _narrow, _round, _upcast
from semi_kernels.isometry.kernel import _hadamard_round


@triton.jit(do_not_specialize=["M"])
def _fused_lora(
    x_ptr, x_row, x_column,
    w_ptr, w_row, w_column, scales_ptr, extra_ptr, scales2_ptr, offset_ptr, table_ptr,
    a_ptr, a_group, a_row, a_column, b_ptr, b_group, b_row, b_column,
    bias_ptr, adapter_bias_ptr, adapter_bias_group, adapter_bias_column, rows_ptr,
    isometry_ptr, isometry2_ptr, scratch_ptr,
    y_ptr, y_row, positions_ptr, before_ptr, scale, M,
    N: tl.constexpr, K: tl.constexpr, R: tl.constexpr, RP: tl.constexpr, G: tl.constexpr,
    V: tl.constexpr, VP: tl.constexpr, ROUNDS: tl.constexpr, KP: tl.constexpr,
    LAYOUT: tl.constexpr, ISOMETRY: tl.constexpr, ACTIVATION: tl.constexpr, HAS_BIAS: tl.constexpr,
    HAS_ADAPTER_BIAS: tl.constexpr, HAS_ROWS: tl.constexpr, SAVE: tl.constexpr, PARTS: tl.constexpr,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """y = act(x R W^T + scale (x R) A_g B_g + bias + adapter_bias_g), g = rows[m].

    Strides are in elements. R and V: ranks of the adapter and of the reflections, 0 without; RP and VP: padded to what
    a dot takes. PARTS > 0: a row's output is PARTS rows of N // PARTS columns, stored at positions (M, PARTS) of y.
    """
    n = tl.program_id(0) * BN + tl.arange(0, BN)
    m = tl.program_id(1) * BM + tl.arange(0, BM).to(tl.int64)
    dtype: tl.constexpr = x_ptr.dtype.element_ty

    reflected = tl.zeros((BM, VP), tl.float32)
    if ISOMETRY == "householder":
        reflected = _reflect(x_ptr, x_row, x_column, isometry2_ptr, m, M, K, V, VP, BM, BK)
    if ISOMETRY == "hadamard":
        # Its own copy of the mixed rows for each program: none waits for another.
        program = tl.program_id(1).to(tl.int64) * tl.num_programs(0) + tl.program_id(0)
        mixed_ptr = scratch_ptr + program * BM * K
        _mix(x_ptr, x_row, x_column, isometry_ptr, isometry2_ptr, mixed_ptr, M, K, KP, ROUNDS, BM)
        x_ptr = mixed_ptr - tl.program_id(1).to(tl.int64) * BM * K
        x_row = K
        x_column = 1

    # In float32 a product's operands are in registers: x A and x W^T in one loop would spill.
    BESIDE: tl.constexpr = R > 0 and not HAS_ROWS and dtype != tl.float32
    acc = tl.zeros((BM, BN), tl.float32)
    s = tl.zeros((BM, RP), tl.float32)
    for start in range(0, K, BK):
        k = start + tl.arange(0, BK)
        x = _load_x(x_ptr, x_row, x_column, isometry_ptr, isometry2_ptr, reflected, m, M, k, K, V, VP, ISOMETRY, dtype)
        if LAYOUT == "dense":
            w = tl.load(
                w_ptr + n[None, :].to(tl.int64) * w_row + k[:, None].to(tl.int64) * w_column,
                mask=(k < K)[:, None] & (n < N)[None, :],
                other=0.0,
            )
            acc = _dot(x, w, acc)
        elif LAYOUT == "q4_1" or (LAYOUT != "none" and K % 64 == 0):
            even, odd = _load_pairs(w_ptr, scales_ptr, extra_ptr, scales2_ptr, offset_ptr, table_ptr,
                                    n, start, N, K, LAYOUT, BN, BK // 2)  # fmt: skip
            x_even, x_odd = tl.split(tl.reshape(x, (BM, BK // 2, 2)))
            acc = _dot(x_even, tl.trans(_narrow(even, dtype)), acc)
            acc = _dot(x_odd, tl.trans(_narrow(odd, dtype)), acc)
        elif LAYOUT != "none":
            w = _load_straddling(w_ptr, scales_ptr, extra_ptr, scales2_ptr, offset_ptr, table_ptr, n, k, N, K, LAYOUT)
            acc = _dot(x, tl.trans(_narrow(w, dtype)), acc)
        if BESIDE:
            s = _dot(x, _load_a(a_ptr, a_row, a_column, k, K, R, RP), s)

    if R > 0 and not HAS_ROWS:
        if not BESIDE:
            s = _down(x_ptr, x_row, x_column, isometry_ptr, isometry2_ptr, reflected, m, M, a_ptr, a_row, a_column,
                      K, R, RP, V, VP, ISOMETRY, dtype, BM, BK)  # fmt: skip
        acc = _dot(_narrow(s * scale, dtype), _load_b(b_ptr, b_row, b_column, n, N, R, RP), acc)
    if R > 0 and HAS_ROWS:
        group = tl.load(rows_ptr + m, mask=m < M, other=-1)
        for g in range(G):
            if tl.max((group == g).to(tl.int32), axis=0) > 0:
                s = _down(x_ptr, x_row, x_column, isometry_ptr, isometry2_ptr, reflected, m, M, a_ptr, a_row, a_column,
                          K, R, RP, V, VP, ISOMETRY, dtype, BM, BK)  # fmt: skip
                s = tl.where((group == g)[:, None], s * scale, 0.0)
                acc = _dot(_narrow(s, dtype), _load_b(b_ptr, b_row, b_column, n, N, R, RP), acc)
            a_ptr += a_group  # pointers never overflow, g * a_group might
            b_ptr += b_group

    if HAS_BIAS:
        acc += tl.load(bias_ptr + n, mask=n < N, other=0.0).to(tl.float32)[None, :]
    if HAS_ADAPTER_BIAS:
        at = adapter_bias_ptr + n[None, :].to(tl.int64) * adapter_bias_column
        if HAS_ROWS:
            at += tl.load(rows_ptr + m, mask=m < M, other=0).to(tl.int64)[:, None] * adapter_bias_group
        acc += tl.load(at, mask=(m < M)[:, None] & (n < N)[None, :], other=0.0).to(tl.float32)
    _store(acc, y_ptr, y_row, positions_ptr, before_ptr, m, M, n, N, ACTIVATION, SAVE, PARTS)


@triton.jit
def _down(
    x_ptr, x_row, x_column, isometry_ptr, isometry2_ptr, reflected, m, M, a_ptr, a_row, a_column,
    K: tl.constexpr, R: tl.constexpr, RP: tl.constexpr, V: tl.constexpr, VP: tl.constexpr, ISOMETRY: tl.constexpr,
    dtype: tl.constexpr, BM: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """x R A of rows m, float32 (BM, RP)."""
    s = tl.zeros((BM, RP), tl.float32)
    for start in range(0, K, BK):
        k = start + tl.arange(0, BK)
        x = _load_x(x_ptr, x_row, x_column, isometry_ptr, isometry2_ptr, reflected, m, M, k, K, V, VP, ISOMETRY, dtype)
        s = _dot(x, _load_a(a_ptr, a_row, a_column, k, K, R, RP), s)
    return s


@triton.jit
def _load_x(
    x_ptr, x_row, x_column, isometry_ptr, isometry2_ptr, reflected, m, M, k,
    K: tl.constexpr, V: tl.constexpr, VP: tl.constexpr, ISOMETRY: tl.constexpr, dtype: tl.constexpr,
):  # fmt: skip
    """Rows m, columns k of x R, as an operand of `dtype`."""
    mask = (m < M)[:, None] & (k < K)[None, :]
    column = tl.load(isometry_ptr + k, mask=k < K, other=0) if ISOMETRY == "signed_permutation" else k
    x = _upcast(tl.load(x_ptr + m[:, None] * x_row + column[None, :].to(tl.int64) * x_column, mask=mask, other=0.0))
    if ISOMETRY == "signed_permutation":
        x = x * tl.load(isometry2_ptr + k, mask=k < K, other=0.0).to(x.dtype)[None, :]
    if ISOMETRY == "householder":
        v = _narrow(_load_a(isometry_ptr, V, 1, k, K, V, VP), dtype)
        x = _narrow(
            x.to(tl.float32) - _dot(_narrow(reflected, dtype), tl.trans(v), tl.zeros_like(x).to(tl.float32)), dtype
        )
    return x


@triton.jit
def _reflect(
    x_ptr, x_row, x_column, vt_ptr, m, M,
    K: tl.constexpr, V: tl.constexpr, VP: tl.constexpr, BM: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """x (V T) of rows m, float32 (BM, VP): x R = x - (x V T) V^T (compact WY).

    V T (K, V) comes from outside. T would be multiplied in float32, whose operands spill at 64 reflections.
    """
    dtype: tl.constexpr = x_ptr.dtype.element_ty
    p = tl.zeros((BM, VP), tl.float32)
    for start in range(0, K, BK):
        k = start + tl.arange(0, BK)
        mask = (m < M)[:, None] & (k < K)[None, :]
        x = tl.load(x_ptr + m[:, None] * x_row + k[None, :].to(tl.int64) * x_column, mask=mask, other=0.0)
        p = _dot(x, _narrow(_load_a(vt_ptr, V, 1, k, K, V, VP), dtype), p)
    return p


@triton.jit
def _load_a(ptr, row, column, k, K: tl.constexpr, R: tl.constexpr, RP: tl.constexpr):
    """Rows k of a tall (K, R) matrix, padded with zeros to RP columns."""
    r = tl.arange(0, RP)
    mask = (k < K)[:, None] & (r < R)[None, :]
    at = ptr + k[:, None].to(tl.int64) * row + r[None, :].to(tl.int64) * column
    return _upcast(tl.load(at, mask=mask, other=0.0))


@triton.jit
def _load_b(ptr, row, column, n, N: tl.constexpr, R: tl.constexpr, RP: tl.constexpr):
    """Columns n of a wide (R, N) matrix, padded with zeros to RP rows."""
    r = tl.arange(0, RP)
    mask = (r < R)[:, None] & (n < N)[None, :]
    at = ptr + r[:, None].to(tl.int64) * row + n[None, :].to(tl.int64) * column
    return _upcast(tl.load(at, mask=mask, other=0.0))


@triton.jit
def _store(
    acc, y_ptr, y_row, positions_ptr, before_ptr, m, M, n,
    N: tl.constexpr, ACTIVATION: tl.constexpr, SAVE: tl.constexpr, PARTS: tl.constexpr,
):  # fmt: skip
    """act(acc) to y; SAVE: acc itself to before (M, N), which the gradient of the activation needs."""
    mask = (m < M)[:, None] & (n < N)[None, :]
    if SAVE:
        tl.store(before_ptr + m[:, None] * N + n[None, :], _round(acc, before_ptr.dtype.element_ty), mask=mask)
    if ACTIVATION == "gelu_tanh":
        acc = _gelu_tanh(acc)
    if PARTS > 0:
        at = positions_ptr + m[:, None] * PARTS + (n // (N // PARTS))[None, :]
        row = tl.load(at, mask=mask, other=0).to(tl.int64)
        y = y_ptr + row * y_row + (n % (N // PARTS))[None, :]
    else:
        y = y_ptr + m[:, None] * y_row + n[None, :]
    tl.store(y, _round(acc, y_ptr.dtype.element_ty), mask=mask)


@triton.jit
def _mix(
    x_ptr, x_row, x_column, index_ptr, sign_ptr, mixed_ptr, M,
    K: tl.constexpr, KP: tl.constexpr, ROUNDS: tl.constexpr, BM: tl.constexpr,
):  # fmt: skip
    """All rounds of a Hadamard isometry on this program's rows, to mixed (BM, K): a row at a time, in registers."""
    k = tl.arange(0, KP)
    for i in range(BM):
        m = tl.program_id(1).to(tl.int64) * BM + i
        if m < M:
            at = x_ptr + m * x_row + k[None, :].to(tl.int64) * x_column
            x = tl.load(at, mask=(k < K)[None, :], other=0.0).to(tl.float32)
            for turn in tl.static_range(ROUNDS):
                x = _hadamard_round(x, index_ptr + turn * K, sign_ptr + turn * K, K, 1, KP, False)
            mixed = _round(x, mixed_ptr.dtype.element_ty)
            tl.store(mixed_ptr + i * K + k[None, :], mixed, mask=(k < K)[None, :])
    tl.debug_barrier()  # other threads of this program read what this one wrote
