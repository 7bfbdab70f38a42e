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
    """float32 -> what a product with operands of `dtype` takes: rounded to it, and held in float32 by the interpreter."""
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
