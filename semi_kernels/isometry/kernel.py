"""Isometries of rows: a gather with signs, Walsh-Hadamard butterflies, a few reflections."""

from __future__ import annotations

import triton
import triton.language as tl

from semi_kernels.device import _dot, _round

# ---- On a tile of rows in float32: the kernels below and `fused_lora` are made of these


@triton.jit
def _permute(x, index, R: tl.constexpr, K2: tl.constexpr):
    """out[:, j] = x[:, index[j]]: x (R, K2), index (K2,) of int32 in [0, K2).

    Gathered along one flat axis, which goes through shared memory: one store and one load an entry. Along a row of a
    tile Triton gathers by shuffles instead, K2^2 / 1024 of them a warp (1024 instructions for K2 = 1024).
    """
    flat = tl.arange(0, R)[:, None] * K2 + index[None, :]
    return tl.reshape(tl.gather(tl.reshape(x, (R * K2,)), tl.reshape(flat, (R * K2,)), axis=0), (R, K2))


@triton.jit
def _walsh_hadamard(x, d: tl.constexpr, R: tl.constexpr, K2: tl.constexpr):
    """x H without H's normalisation: x (R, K2) float32, K2 <= 65536, zero from column d on, and so is the result.

    H is block diagonal, its blocks the powers of two that sum to d in descending order. The block of column i < d is
    the highest bit in which i and d differ, and it begins at a multiple of its size: the partner i ^ 2^s of a stage
    lies in the same block. A stage adds the partner, or subtracts from it where bit s is set.

    The partner is the pair's sum less the entry itself, in wrapping integers: exact, one shuffle an entry across lanes
    and none within a thread. `tl.gather(x, i ^ 2^s)` would be the K2^2 / 1024 shuffles of `_permute` at every stage.
    """
    i = tl.arange(0, K2)
    for s in tl.static_range(16):
        if (2 << s) <= d:
            bits = tl.reshape(x.to(tl.int32, bitcast=True), (R, K2 >> (s + 1), 2, 1 << s))
            other = tl.reshape(tl.sum(bits, axis=2, keep_dims=True) - bits, (R, K2)).to(tl.float32, bitcast=True)
            sign = 1.0 - 2.0 * ((i >> s) & 1).to(tl.float32)
            mixed = x * sign[None, :] + other
            # Where 2^(s+1) divides d, every block takes part; the padding mixes with itself and stays zero.
            x = mixed if d % (2 << s) == 0 else tl.where((((i ^ d) >> (s + 1)) != 0)[None, :], mixed, x)
    return x


@triton.jit
def _hadamard_round(x, index, sign, d: tl.constexpr, R: tl.constexpr, K2: tl.constexpr, UNDO: tl.constexpr):
    """A round, or its inverse, of x (R, K2) float32, zero from column d on.

    index, sign: pointers to the round's (d,) columns, those of the inverse permutation to undo it, and (d,) signs.
    """
    i = tl.arange(0, K2)
    columns = tl.load(index + i, mask=i < d, other=0).to(tl.int32)
    columns = tl.where(i < d, columns, i)  # padding stays where it is, zero
    # H's normalisation is 1 / sqrt(block) of each column, and the exponent of the float i ^ d is that of the block.
    block = tl.maximum(i ^ d, 1).to(tl.float32).to(tl.int32, bitcast=True) & 0x7F800000
    factor = tl.load(sign + i, mask=i < d, other=0.0).to(tl.float32) / tl.sqrt_rn(block.to(tl.float32, bitcast=True))
    if UNDO:
        return _permute(_walsh_hadamard(x, d, R, K2) * factor[None, :], columns, R, K2)
    else:
        return _walsh_hadamard(_permute(x, columns, R, K2) * factor[None, :], d, R, K2)


# ---- Launched on their own


@triton.jit(do_not_specialize=["M"])
def _signed_permutation(
    x_ptr, x_row, x_column, index_ptr, sign_ptr, y_ptr, M, d,
    UNDO: tl.constexpr, BM: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """y[m, j] = sign[j] x[m, index[j]]; UNDO: sign[index[j]] x[m, index[j]], for the inverse permutation's index.

    A program takes whole rows: they are gathered from at random, and so stay in its cache.
    """
    m = tl.program_id(0).to(tl.int64) * BM + tl.arange(0, BM)
    for start in range(0, d, BK):
        j = start + tl.arange(0, BK)
        column = tl.load(index_ptr + j, mask=j < d, other=0).to(tl.int64)
        sign = tl.load(sign_ptr + (column if UNDO else j), mask=j < d, other=0.0).to(tl.float32)
        mask = (m < M)[:, None] & (j < d)[None, :]
        x = tl.load(x_ptr + m[:, None] * x_row + column[None, :] * x_column, mask=mask, other=0.0).to(tl.float32)
        tl.store(y_ptr + m[:, None] * d + j[None, :], _round(x * sign[None, :], y_ptr.dtype.element_ty), mask=mask)


@triton.jit(do_not_specialize=["M"])
def _hadamard(
    x_ptr, x_row, x_column, index_ptr, sign_ptr, y_ptr, M, rounds,
    d: tl.constexpr, UNDO: tl.constexpr, R: tl.constexpr, K2: tl.constexpr,
):  # fmt: skip
    """All rounds on R rows in registers. index, sign (rounds, d)."""
    m = tl.program_id(0).to(tl.int64) * R + tl.arange(0, R)
    i = tl.arange(0, K2)
    mask = (m < M)[:, None] & (i < d)[None, :]
    x = tl.load(x_ptr + m[:, None] * x_row + i[None, :].to(tl.int64) * x_column, mask=mask, other=0.0).to(tl.float32)
    for turn in range(rounds):
        at = (rounds - 1 - turn if UNDO else turn) * d
        x = _hadamard_round(x, index_ptr + at, sign_ptr + at, d, R, K2, UNDO)
    tl.store(y_ptr + m[:, None] * d + i[None, :], _round(x, y_ptr.dtype.element_ty), mask=mask)


@triton.jit(do_not_specialize=["M"])
def _householder(
    x_ptr, x_row, x_column, v_ptr, t_ptr, y_ptr, M, d, k,
    UNDO: tl.constexpr, BM: tl.constexpr, BK: tl.constexpr, KP: tl.constexpr,
):  # fmt: skip
    """y = x - (x V) T V^T; UNDO: with T^T. V (d, k), T (k, k), contiguous. Rows are read twice, then from the cache."""
    m = tl.program_id(0).to(tl.int64) * BM + tl.arange(0, BM)
    r = tl.arange(0, KP)
    p = tl.zeros((BM, KP), tl.float32)
    for start in range(0, d, BK):
        x, v = _rows_and_directions(x_ptr, x_row, x_column, v_ptr, m, start + tl.arange(0, BK), r, M, d, k)
        p = _dot(x, v, p)
    at = r[None, :] * k + r[:, None] if UNDO else r[:, None] * k + r[None, :]
    t = tl.load(t_ptr + at, mask=(r < k)[:, None] & (r < k)[None, :], other=0.0).to(tl.float32)
    p = _dot(-p, t, tl.zeros((BM, KP), tl.float32))
    for start in range(0, d, BK):
        j = start + tl.arange(0, BK)
        x, v = _rows_and_directions(x_ptr, x_row, x_column, v_ptr, m, j, r, M, d, k)
        y = _round(_dot(p, tl.trans(v), x), y_ptr.dtype.element_ty)
        tl.store(y_ptr + m[:, None] * d + j[None, :], y, mask=(m < M)[:, None] & (j < d)[None, :])


@triton.jit
def _rows_and_directions(x_ptr, x_row, x_column, v_ptr, m, j, r, M, d, k):
    """Columns j of rows m of x (BM, BK), and rows j of V (BK, KP), float32, zero beyond their ends."""
    mask = (m < M)[:, None] & (j < d)[None, :]
    x = tl.load(x_ptr + m[:, None] * x_row + j[None, :].to(tl.int64) * x_column, mask=mask, other=0.0)
    v = tl.load(v_ptr + j[:, None] * k + r[None, :], mask=(j < d)[:, None] & (r < k)[None, :], other=0.0)
    return x.to(tl.float32), v.to(tl.float32)
