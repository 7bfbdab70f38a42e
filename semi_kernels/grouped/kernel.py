"""Triton kernels. Rows are visited in the order of their groups; a program works on rows of one group only.

How rows become work without the host knowing the groups' sizes: with n rows to a tile, group g owns the tiles from
offsets[g] // n + g on. That is one tile or more for every n rows begun, so M // n + G tiles hold any sizes, no prefix
sum over the groups is needed, and the few tiles too many return at once.

Offsets are 64 bits wide but within one adapter, where 32 spare registers (`launch` sees to it that they suffice).
"""

from __future__ import annotations

import triton
import triton.language as tl

from semi_kernels.device import _dot, _gelu_tanh, _round, _upcast


@triton.jit
def _tile_rows(offsets, tile, G, n):
    """(g, first, end): tile -> its group and its rows' places in the order; first >= end where the tile is empty."""
    begun = 0
    for g0 in range(0, G, 64):
        g = g0 + tl.arange(0, 64)
        start = tl.load(offsets + g, mask=g < G, other=0)
        begun += tl.sum(((g < G) & (start // n + g <= tile)).to(tl.int32), 0)
    group = tl.maximum(begun - 1, 0)
    start = tl.load(offsets + group)
    first = start + (tile - start // n - group) * n
    end = tl.load(offsets + group + 1)
    return group, first, tl.where(begun > 0, tl.minimum(end, first + n), 0)


@triton.jit(do_not_specialize=["M", "G"])
def rank_kernel(rows, order, offsets, M, G, BQ: tl.constexpr, BM: tl.constexpr):
    """order (M,), offsets (G + 1,) of rows (M,), by counting for every row how many come before it.

    M^2 comparisons, but one launch: a radix sort and a search take five or more. A query q < M is a row, the key of
    which is (its group, itself); the queries behind are the groups' first possible keys, whose ranks are the offsets.
    """
    q = tl.program_id(0) * BQ + tl.arange(0, BQ)
    group = tl.load(rows + q, mask=q < M, other=0)
    group = tl.minimum(tl.maximum(group, -1), G).to(tl.int32)  # out of range: before or behind all groups
    key = tl.where(q < M, group * M + q, (q - M) * M)
    smaller = tl.zeros((BQ, BM), tl.int32)
    for m0 in range(0, M, BM):
        m = m0 + tl.arange(0, BM)
        other = tl.load(rows + m, mask=m < M, other=0)
        other = tl.minimum(tl.maximum(other, -1), G).to(tl.int32) * M + m
        smaller += ((other[None, :] < key[:, None]) & (m < M)[None, :]).to(tl.int32)
    rank = tl.sum(smaller, 1)
    tl.store(order + rank, q, mask=q < M)
    tl.store(offsets + (q - M), rank, mask=(q >= M) & (q <= M + G))


@triton.jit(do_not_specialize=["M", "G"])
def down_kernel(
    x, A, order, offsets, out, scale, M, G, sxm, sxk, sag, sak, sar,
    K: tl.constexpr, R: tl.constexpr, BM: tl.constexpr, BK: tl.constexpr, BR: tl.constexpr, SPLITS: tl.constexpr,
):  # fmt: skip
    """out[m] = scale x[m] A[g(m)]: (M, R), or with SPLITS > 1 the float32 sums (SPLITS, M, R) over parts of K."""
    RANKS: tl.constexpr = (R + BR - 1) // BR
    PART: tl.constexpr = ((K + BK - 1) // BK + SPLITS - 1) // SPLITS * BK
    EVEN: tl.constexpr = PART * SPLITS == K
    pid = tl.program_id(0)
    split = pid // RANKS % SPLITS
    g, first, end = _tile_rows(offsets, pid // (RANKS * SPLITS), G, BM)
    if first >= end:
        return
    place = first + tl.arange(0, BM)
    row = tl.load(order + place, mask=place < end, other=0).to(tl.int64)
    c = pid % RANKS * BR + tl.arange(0, BR)
    xs = x + row[:, None] * sxm
    As = A + g.to(tl.int64) * sag + c[None, :] * sar
    acc = tl.zeros((BM, BR), tl.float32)
    for k0 in range(0, PART, BK):
        k = split * PART + k0 + tl.arange(0, BK)
        inside = (k < K) | EVEN  # a mask that is known costs no registers
        xt = tl.load(xs + k.to(tl.int64)[None, :] * sxk, mask=(place < end)[:, None] & inside[None, :], other=0.0)
        at = tl.load(As + k[:, None] * sak, mask=inside[:, None] & (c < R)[None, :], other=0.0)
        acc = _dot(xt, at, acc)
    if SPLITS == 1:
        acc = _round(acc * scale, out.dtype.element_ty)
    else:
        out += split.to(tl.int64) * M * R
    tl.store(out + row[:, None] * R + c[None, :], acc, mask=(place < end)[:, None] & (c < R)[None, :])


@triton.jit
def sum_splits_kernel(parts, out, scale, n, SPLITS: tl.constexpr, BLOCK: tl.constexpr):
    """out (n,) = scale times the sum over s of parts (SPLITS, n), in the order of s."""
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    total = tl.zeros((BLOCK,), tl.float32)
    for _ in tl.static_range(SPLITS):
        total += tl.load(parts + i, mask=i < n, other=0.0)
        parts += n
    tl.store(out + i, _round(total * scale, out.dtype.element_ty), mask=i < n)


@triton.jit(do_not_specialize=["G"])
def up_kernel(
    y, S, B, bias, order, offsets, out, pre, scale, G, sym, syn, ssm, ssr, sbg, sbr, sbn, sag, san,
    N: tl.constexpr, R: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BR: tl.constexpr, GELU: tl.constexpr,
):  # fmt: skip
    """out[m] = act(y[m] + scale S[m] B[g(m)] + bias[g(m)]), (M, N); y, bias and pre (before act) may be None."""
    COLUMNS: tl.constexpr = (N + BN - 1) // BN
    pid = tl.program_id(0)
    g, first, end = _tile_rows(offsets, pid // COLUMNS, G, BM)
    if first >= end:
        return
    place = first + tl.arange(0, BM)
    row = tl.load(order + place, mask=place < end, other=0).to(tl.int64)
    c = pid % COLUMNS * BN + tl.arange(0, BN)
    c64 = c.to(tl.int64)
    g = g.to(tl.int64)
    inside = (place < end)[:, None] & (c < N)[None, :]
    total = tl.zeros((BM, BN), tl.float32)
    Bs = B + g * sbg + c[None, :] * sbn
    for r0 in range(0, R, BR):
        r = r0 + tl.arange(0, BR)
        columns = r.to(tl.int64)[None, :] * ssr
        st = tl.load(S + row[:, None] * ssm + columns, mask=(place < end)[:, None] & (r < R)[None, :], other=0.0)
        bt = tl.load(Bs + r[:, None] * sbr, mask=(r < R)[:, None] & (c < N)[None, :], other=0.0)
        total = _dot(st, bt, total)
    total = total * scale
    if y is not None:
        total += _upcast(tl.load(y + row[:, None] * sym + c64[None, :] * syn, mask=inside, other=0.0)).to(tl.float32)
    if bias is not None:
        total += _upcast(tl.load(bias + g * sag + c64 * san, mask=c < N, other=0.0)).to(tl.float32)[None, :]
    if pre is not None:
        tl.store(pre + row[:, None] * N + c[None, :], _round(total, pre.dtype.element_ty), mask=inside)
    if GELU:
        total = _gelu_tanh(total)
    tl.store(out + row[:, None] * N + c[None, :], _round(total, out.dtype.element_ty), mask=inside)


@triton.jit(do_not_specialize=["G", "chunk"])
def outer_kernel(
    x, d, order, offsets, out, sums, G, chunk, sxm, sxk, sdm, sdr, stride, stride_sums,
    K: tl.constexpr, R: tl.constexpr, BM: tl.constexpr, BK: tl.constexpr, BR: tl.constexpr, DIRECT: tl.constexpr,
):  # fmt: skip
    """out[g] = sum of x[m]^T d[m], (K, R), and sums[g] = sum of x[m], (K,), over the rows m of g; sums may be None.

    DIRECT: over all of them. Otherwise over `chunk` at a time: out and sums then have one entry for every tile.
    """
    COLUMNS: tl.constexpr = (K + BK - 1) // BK
    RANKS: tl.constexpr = (R + BR - 1) // BR
    pid = tl.program_id(0)
    tile = pid // (COLUMNS * RANKS)
    if DIRECT:
        first, end = tl.load(offsets + tile), tl.load(offsets + tile + 1)
    else:
        _, first, end = _tile_rows(offsets, tile, G, chunk)
        if first >= end:
            return
    k = pid // RANKS % COLUMNS * BK + tl.arange(0, BK)
    c = pid % RANKS * BR + tl.arange(0, BR)
    xs = x + k.to(tl.int64)[None, :] * sxk
    ds = d + c.to(tl.int64)[None, :] * sdr
    acc = tl.zeros((BK, BR), tl.float32)
    column = tl.zeros((BM, BK), tl.float32)  # rows are added at the end: over warps, a sum waits
    for first_place in range(first, end, BM):
        place = first_place + tl.arange(0, BM)
        row = tl.load(order + place, mask=place < end, other=0).to(tl.int64)[:, None]
        xt = _upcast(tl.load(xs + row * sxm, mask=(place < end)[:, None] & (k < K)[None, :], other=0.0))
        dt = tl.load(ds + row * sdm, mask=(place < end)[:, None] & (c < R)[None, :], other=0.0)
        acc = _dot(tl.trans(xt), dt, acc)
        if sums is not None:
            column += xt.to(tl.float32)
    out += tile.to(tl.int64) * stride
    tl.store(out + k.to(tl.int64)[:, None] * R + c[None, :], acc, mask=(k < K)[:, None] & (c < R)[None, :])
    if sums is not None:  # noqa: SIM102  decided when compiling, unlike what follows
        if pid % RANKS == 0:
            tl.store(sums + tile.to(tl.int64) * stride_sums + k, tl.sum(column, 0), mask=k < K)


@triton.jit(do_not_specialize=["chunk"])
def sum_tiles_kernel(parts, out, sums, offsets, chunk, n, n_sums, BLOCK: tl.constexpr):
    """out[g] (n,) and sums[g] (n_sums,): the sum of parts (tiles, n + n_sums) over the tiles of g, in their order."""
    blocks = (n + n_sums + BLOCK - 1) // BLOCK
    g = tl.program_id(0) // blocks
    i = (tl.program_id(0) % blocks).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    start, end = tl.load(offsets + g), tl.load(offsets + g + 1)
    part = parts + (start // chunk + g).to(tl.int64) * (n + n_sums)
    total = tl.zeros((BLOCK,), tl.float32)
    for _ in range(0, (end - start + chunk - 1) // chunk):
        total += tl.load(part + i, mask=i < n + n_sums, other=0.0)
        part += n + n_sums
    tl.store(out + g.to(tl.int64) * n + i, total, mask=i < n)
    if sums is not None:
        tl.store(sums + g.to(tl.int64) * n_sums + (i - n), total, mask=(i >= n) & (i < n + n_sums))
