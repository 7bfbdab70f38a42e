"""Device functions that every kernel shares, written so that the interpreter and the compiler agree."""

from __future__ import annotations

import os

import triton
import triton.language as tl

INTERPRETING: tl.constexpr = tl.constexpr(os.environ.get("TRITON_INTERPRET") == "1")
"""The interpreter holds bfloat16 as bits: its products of them are off by 1e10 and its casts to them truncate."""


@triton.jit
def _upcast(x):
    """x, in float32 where the interpreter could not compute with it; compiled, as it is."""
    return x.to(tl.float32) if INTERPRETING else x


@triton.jit
def _round(x, dtype: tl.constexpr):
    """float32 -> dtype, to nearest even."""
    if INTERPRETING and dtype == tl.bfloat16:
        bits = x.to(tl.uint32, bitcast=True)
        bits = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
        return bits.to(tl.uint16).to(tl.bfloat16, bitcast=True)
    else:
        return x.to(dtype)


@triton.jit
def _narrow(x, dtype: tl.constexpr):
    """float32 -> an operand of a product in `dtype`: rounded to it, though the interpreter holds it in float32."""
    return _upcast(_round(x, dtype))


@triton.jit
def _dot(a, b, acc):
    """acc + a b in float32. "ieee": products of float32 would be TF32 on a GPU, which no test on a CPU could see."""
    return tl.dot(_upcast(a), _upcast(b), acc, input_precision="ieee")


@triton.jit
def _gelu_tanh(x):
    """GELU in its tanh form as x sigmoid(2u), u = sqrt(2/pi) (x + 0.044715 x^3): no libdevice, no overflow."""
    return x * tl.sigmoid(1.5957691216057308 * (x + 0.044715 * x * x * x))


@triton.jit
def _decode_nf4(table, nibbles):
    """The NF4 value of every nibble (rows, columns), as float32, before its scale.

    table (16,). Spread over the lanes of a warp, a gather from it is one shuffle a weight (seen in the PTX of sm_80 and
    sm_90; a table repeated to 64 columns costs two, a chain of comparisons about nine operations).
    """
    spread = tl.broadcast_to(table[None, :], (nibbles.shape[0], 16))
    return tl.gather(spread, nibbles, axis=1)


@triton.jit
def _block_scales(scales_ptr, code_ptr, scales2_ptr, offset_ptr, block, mask, NESTED: tl.constexpr):
    """absmax of NF4 blocks, float32. Nested: an 8-bit code into a table, scaled per 256 blocks, plus an offset.

    Kernels that call it are compiled without fused multiply-adds, so that it rounds as bitsandbytes does.
    """
    if NESTED:
        code = tl.load(scales_ptr + block, mask=mask, other=0).to(tl.int32)
        scales2 = tl.load(scales2_ptr + block // 256, mask=mask, other=0.0)
        return tl.where(mask, tl.load(code_ptr + code) * scales2 + tl.load(offset_ptr), 0.0)
    else:
        return tl.load(scales_ptr + block, mask=mask, other=0.0)


@triton.jit
def _load_pairs(
    w_ptr, scales_ptr, extra_ptr, scales2_ptr, offset_ptr, table_ptr, n, start,
    N: tl.constexpr, K: tl.constexpr, LAYOUT: tl.constexpr, BN: tl.constexpr, BH: tl.constexpr,
):  # fmt: skip
    """Rows n (BN,) of 4-bit weights, columns start .. start + 2 BH: the even ones and the odd ones, float32 (BN, BH).

    K is a multiple of the block (64 for NF4, 32 for Q4_1), so that a row is whole bytes and whole blocks. Even and odd
    stay apart because they share bytes: a product with them needs no shuffle to interleave them. extra: the nested
    code's table (NF4) or the minima (Q4_1).
    """
    HALF: tl.constexpr = 32 if LAYOUT != "q4_1" else 16  # bytes of a block
    row = n.to(tl.int64)
    byte = start // 2 + tl.arange(0, BH)
    block = start // 2 // HALF + tl.arange(0, BH // HALF)
    mask = (n < N)[:, None] & (byte < K // 2)[None, :]
    block_mask = (n < N)[:, None] & (block < K // 2 // HALF)[None, :]
    packed = tl.load(w_ptr + row[:, None] * (K // 2) + byte[None, :], mask=mask, other=0).to(tl.int32)
    blocks = row[:, None] * (K // 2 // HALF) + block[None, :]
    if LAYOUT == "q4_1":
        scale = tl.load(scales_ptr + blocks, mask=block_mask, other=0.0).to(tl.float32)
        least = tl.load(extra_ptr + blocks, mask=block_mask, other=0.0).to(tl.float32)
        scale, least = _spread(scale, HALF), _spread(least, HALF)
        even = scale * (packed >> 4).to(tl.float32) + least
        odd = scale * (packed & 15).to(tl.float32) + least
    else:
        scale = _block_scales(
            scales_ptr, extra_ptr, scales2_ptr, offset_ptr, blocks, block_mask, LAYOUT == "nf4_nested"
        )
        scale = _spread(scale, HALF)
        table = tl.load(table_ptr + tl.arange(0, 16))
        even = _decode_nf4(table, packed >> 4) * scale
        odd = _decode_nf4(table, packed & 15) * scale
    return even, odd


@triton.jit
def _load_straddling(
    w_ptr, scales_ptr, extra_ptr, scales2_ptr, offset_ptr, table_ptr, n, k,
    N: tl.constexpr, K: tl.constexpr, LAYOUT: tl.constexpr,
):  # fmt: skip
    """NF4 weights at rows n, columns k, float32 (BN, BK), for any K: blocks, even bytes, may straddle rows."""
    mask = (n < N)[:, None] & (k < K)[None, :]
    element = n[:, None].to(tl.int64) * K + k[None, :]
    packed = tl.load(w_ptr + element // 2, mask=mask, other=0).to(tl.int32)
    nibbles = tl.where(element % 2 == 0, packed >> 4, packed & 15)
    scale = _block_scales(scales_ptr, extra_ptr, scales2_ptr, offset_ptr, element // 64, mask, LAYOUT == "nf4_nested")
    return _decode_nf4(tl.load(table_ptr + tl.arange(0, 16)), nibbles) * scale


@triton.jit
def _spread(scale, HALF: tl.constexpr):
    """(BN, blocks) -> (BN, blocks * HALF): a block's value for each of its bytes."""
    wide = tl.broadcast_to(scale[:, :, None], (scale.shape[0], scale.shape[1], HALF))
    return tl.reshape(wide, (scale.shape[0], scale.shape[1] * HALF))
