"""Weights in bitsandbytes' NF4: 16 quantiles of a normal distribution, scaled by the largest of every 64 entries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Self

import torch
from torch import Tensor

from semi_kernels.tiles import ceil_div
from semi_kernels.weights import _checks as check

BLOCK = 64
"""Entries that share a scale. Blocks run through the flat weight, so they straddle rows where K % 64 != 0."""
NESTED_BLOCK = 256
"""Scales that share a scale of their own, where they are nested."""
LEVELS = (
    *(-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635),
    *(-0.18477343022823334, -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634),
    *(0.33791524171829224, 0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0),
)
"""Dettmers et al. 2023 (QLoRA), appendix E."""


@dataclass(frozen=True, eq=False)
class NF4Weight:
    """A weight (N, K) of 4 bits an entry and a scale every 64 of them, in bitsandbytes' own layout.

    Entry e (row-major) is LEVELS[nibble e] * s with s = absmax[e // 64], or, where scales are nested (8 bits each),
    s = code[absmax[b]] * absmax2[b // 256] + offset with b = e // 64: all in float32, then rounded once. Source: QLoRA
    (arXiv 2305.14314). Parts of another length, dtype, stride or device are a ValueError or TypeError.
    """

    shape: tuple[int, int]
    packed: Tensor
    """uint8 (ceil(N K / 2),): entry 2i in the high nibble of byte i, 2i + 1 in the low one."""
    absmax: Tensor
    """(ceil(N K / 64),) float32, or uint8 where scales are nested."""
    code: Tensor | None = None
    """float32 (256,): what a byte of `absmax` stands for."""
    absmax2: Tensor | None = None
    """float32 (ceil(blocks / 256),)."""
    offset: Tensor | None = None
    """float32 scalar: the mean scale."""
    dtype: torch.dtype = torch.float32
    """What it decodes to unless told otherwise."""

    def __post_init__(self) -> None:
        who = "NF4Weight"
        n, k = check.check_shape(who, self.shape)
        blocks = ceil_div(n * k, BLOCK)
        of = f"shape ({n}, {k}) has {n * k} entries"
        check.check_part(who, "packed", self.packed, ceil_div(n * k, 2), torch.uint8, f"{of}, two a byte")
        nested = (self.code, self.absmax2, self.offset)
        if all(part is None for part in nested):
            check.check_part(who, "absmax", self.absmax, blocks, torch.float32, f"{of} in blocks of {BLOCK}")
        else:
            if self.code is None or self.absmax2 is None or self.offset is None:
                given = [
                    name for name, part in zip(("code", "absmax2", "offset"), nested, strict=True) if part is not None
                ]
                raise ValueError(f"{who}: got only {given}, expected code, absmax2 and offset, or none of them")
            check.check_part(who, "absmax", self.absmax, blocks, torch.uint8, f"{of} in blocks of {BLOCK}")
            check.check_part(who, "code", self.code, 256, torch.float32, "one value a byte")
            outer = ceil_div(blocks, NESTED_BLOCK)
            check.check_part(
                who, "absmax2", self.absmax2, outer, torch.float32, f"{blocks} scales, {NESTED_BLOCK} each"
            )
            if self.offset.numel() != 1 or self.offset.dtype != torch.float32:
                got = f"{tuple(self.offset.shape)} of {self.offset.dtype}"
                raise ValueError(f"{who}: got offset {got}, expected one float32")
        check.check_device(who, self.tensors())

    @property
    def nested(self) -> bool:
        """Whether the scales are stored in 8 bits."""
        return self.code is not None

    @property
    def layout(self) -> str:
        """Its name in the schemas of operations."""
        return "nf4_nested" if self.nested else "nf4"

    @property
    def device(self) -> torch.device:
        """Where its parts live."""
        return self.packed.device

    @property
    def nbytes(self) -> int:
        """Bytes of all parts."""
        return sum(part.nbytes for part in self.tensors())

    def tensors(self) -> list[Tensor]:
        """packed, absmax and, where nested, code, absmax2, offset."""
        return [part for part in (self.packed, self.absmax, self.code, self.absmax2, self.offset) if part is not None]

    @classmethod
    def from_tensors(
        cls, tensors: Sequence[Tensor], shape: tuple[int, int], dtype: torch.dtype = torch.float32
    ) -> Self:
        """The inverse of `tensors`."""
        if len(tensors) not in (2, 5):
            raise ValueError(f"NF4Weight.from_tensors: got {len(tensors)} tensors, expected 2, or 5 with nested scales")
        packed, absmax, *nested = tensors
        code, absmax2, offset = nested or (None, None, None)
        return cls(shape, packed, absmax, code, absmax2, offset, dtype)

    def to(self, device: torch.device | str) -> Self:
        """The same weight on another device."""
        parts = [part.to(device) for part in self.tensors()]
        return type(self).from_tensors(parts, self.shape, self.dtype)

    @classmethod
    def from_float(cls, weight: Tensor, nested: bool = True) -> Self:
        """Quantise (N, K) of float32, float16 or bfloat16, as bitsandbytes does on a CPU.

        An entry halfway between two levels takes the lower one. On a GPU, bitsandbytes breaks a few ties otherwise.

        Args:
            weight: (N, K).
            nested: store scales in 8 bits (4.13 bits an entry against 4.5).

        Raises:
            ValueError: not (N, K) or not finite. TypeError: another dtype.
        """
        shape = check.check_source("NF4Weight.from_float", weight)
        flat = weight.detach().reshape(-1).float()
        full = flat.numel() // BLOCK * BLOCK
        rest = flat[full:]
        absmax = flat[:full].view(-1, BLOCK).abs().amax(1)  # (blocks,)
        reciprocal = 1.0 / absmax.clamp(min=1e-38)
        units = (flat[:full].view(-1, BLOCK) * reciprocal[:, None]).view(-1)
        if len(rest):
            last = rest.abs().amax().clamp(min=1e-38)
            absmax, units = torch.cat([absmax, last[None]]), torch.cat([units, rest / last])
        table = levels(flat.device)
        nibbles = torch.bucketize(units.clamp(-1, 1), (table[1:] + table[:-1]) / 2, out_int32=True).to(torch.uint8)
        if len(nibbles) % 2:
            nibbles = torch.cat([nibbles, nibbles.new_full((1,), LEVELS.index(0.0))])
        packed = (nibbles[::2] << 4) | nibbles[1::2]
        if not nested:
            return cls(shape, packed, absmax, dtype=weight.dtype)
        offset = absmax.mean()
        code = dynamic_code().to(flat.device)
        bytes_, absmax2 = _quantise_scales(absmax - offset, code)
        return cls(shape, packed, bytes_, code, absmax2, offset, dtype=weight.dtype)

    @classmethod
    def from_bitsandbytes(cls, packed: Tensor, quant_state: Any) -> Self:
        """Adopt, without a copy, what bitsandbytes holds: `layer.weight.data`, `layer.weight.quant_state`.

        Args:
            packed: of `quantize_4bit`, in any storage dtype.
            quant_state: its `QuantState`: nf4, block size 64, nested (256) or not.

        Raises:
            ValueError: another type, block size or layout, or scales that are not finite.
        """
        who = "NF4Weight.from_bitsandbytes"
        if quant_state is None:
            raise ValueError(f"{who}: got no quant_state, expected a QuantState; move the layer to its device first")
        if getattr(quant_state, "packing_format_for_cpu", False):
            raise ValueError(
                f"{who}: got a weight that bitsandbytes repacked for its CPU kernel (scales rounded to bfloat16), "
                "expected the layout of quantize_4bit; convert before the layer's first forward"
            )
        if (quant_state.quant_type, quant_state.blocksize) != ("nf4", BLOCK):
            got = f"{quant_state.quant_type} in blocks of {quant_state.blocksize}"
            raise ValueError(f"{who}: got {got}, expected nf4 in blocks of {BLOCK}; quantise with blocksize={BLOCK}")
        if quant_state.code is not None and quant_state.code.tolist() != levels(torch.device("cpu")).tolist():
            raise ValueError(f"{who}: got levels {quant_state.code.tolist()}, expected NF4's {list(LEVELS)}")
        shape = check.check_shape(who, tuple(quant_state.shape))
        flat = packed.detach().contiguous().view(torch.uint8).reshape(-1)
        parts = [flat, quant_state.absmax.detach()]
        if quant_state.nested:
            inner = quant_state.state2
            if inner.blocksize != NESTED_BLOCK:
                raise ValueError(f"{who}: got nested blocks of {inner.blocksize}, expected {NESTED_BLOCK}")
            parts += [inner.code.detach(), inner.absmax.detach(), quant_state.offset.detach().float()]
        for part in parts[1:]:
            if part.is_floating_point():
                check.check_finite(who, "absmax", part)
        return cls.from_tensors([part.to(flat.device) for part in parts], shape, quant_state.dtype)

    def scales(self) -> Tensor:
        """float32 (ceil(N K / 64),): the scale of every block."""
        if self.code is None or self.absmax2 is None or self.offset is None:
            return self.absmax
        outer = self.absmax2.repeat_interleave(NESTED_BLOCK)[: len(self.absmax)]
        return self.code[self.absmax.int()] * outer + self.offset

    def dequantize(self, dtype: torch.dtype | None = None) -> Tensor:
        """(N, K) in `dtype` (None: that of the weight), equal to bitsandbytes' bit for bit.

        Its CPU kernel for AVX-512 (0.50.2) misreads scales where K is a multiple of 16 and not of 64. This follows its
        other kernels, and its quantiser.
        """
        n, k = self.shape
        values = _pairs(self.packed.device)[self.packed.int()].view(torch.float32)[: n * k]  # (N K,) levels
        full = n * k // BLOCK * BLOCK
        scales = self.scales()
        values[:full].view(-1, BLOCK).mul_(scales[: full // BLOCK, None])
        if full < n * k:
            values[full:].mul_(scales[-1])
        return values.view(n, k).to(dtype or self.dtype)


@cache
def levels(device: torch.device) -> Tensor:
    """LEVELS on a device, float32 (16,)."""
    return torch.tensor(LEVELS, device=device)


@cache
def _pairs(device: torch.device) -> Tensor:
    """(256,) of 64 bits: the two levels of a byte side by side, so that one gather decodes two entries."""
    table = levels(device)
    pairs = torch.stack([table.repeat_interleave(16), table.repeat(16)], dim=1)  # (256, 2)
    return pairs.view(torch.float64).view(256)


@cache
def dynamic_code() -> Tensor:
    """float32 (256,), ascending: bitsandbytes' signed 8-bit numbers of dynamic exponent, which nested scales use.

    Dettmers 2016 (arXiv 1511.04561): a decade for every leading zero bit, and the remaining bits split it linearly.
    """
    values = [0.0, 1.0]
    for exponent in range(7):
        edges = torch.linspace(0.1, 1, 2**exponent + 1)
        middles = (edges[:-1] + edges[1:]) / 2.0
        for sign in (1, -1):
            values += (sign * 10 ** (exponent - 6) * middles).tolist()
    return torch.tensor(sorted(values))


def _quantise_scales(scales: Tensor, code: Tensor) -> tuple[Tensor, Tensor]:
    """Nearest codes (blocks,) as bytes, and the largest magnitude (ceil(blocks / 256),) of every 256 scales.

    bitsandbytes finds the nearest code on a CPU for 65536 points of [-1, 1] once and then looks it up.
    """
    blocks = len(scales)
    padded = torch.nn.functional.pad(scales, (0, -blocks % NESTED_BLOCK)).view(-1, NESTED_BLOCK)
    absmax = padded.abs().amax(1)
    units = padded / absmax.clamp(min=1e-38)[:, None]
    point = torch.floor((units + 1) * 0.5 * 65535 + 0.5) / 65535 * 2 - 1
    codes = torch.bucketize(point, (code[1:] + code[:-1]) / 2, out_int32=True)
    codes.masked_fill_(absmax[:, None] == 0, 0)
    return codes.view(-1)[:blocks].to(torch.uint8), absmax
