"""Weights in GGUF's Q4_1: affine 4-bit numbers, a scale and a minimum every 32 of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from semi_kernels.weights import _checks as check

BLOCK = 32
"""Entries of a row that share a scale and a minimum."""
BYTES = 20
"""Of a block in a file: scale, minimum (float16 each) and 16 bytes with entry j low and entry j + 16 high."""


@dataclass(frozen=True, eq=False)
class Q4Weight:
    """A weight (N, K), K % 32 == 0: entry e is scale[e // 32] * nibble e + minimum[e // 32], in float32.

    Nibbles are stored as in `NF4Weight`, neighbours in one byte, so that a kernel reads either alike. Source:
    block_q4_1 of ggml. Parts of another length, dtype, stride or device are a ValueError or TypeError.
    """

    shape: tuple[int, int]
    packed: Tensor
    """uint8 (N K / 2,): entry 2i in the high nibble of byte i, 2i + 1 in the low one."""
    scale: Tensor
    """float16 (N K / 32,)."""
    minimum: Tensor
    """float16 (N K / 32,)."""
    dtype: torch.dtype = torch.float32
    """What it decodes to unless told otherwise."""

    layout = "q4_1"
    """Its name in the schemas of operations."""

    def __post_init__(self) -> None:
        n, k = _check_blocks("Q4Weight", self.shape)
        of = f"shape ({n}, {k}) has {n * k} entries"
        check.check_part("Q4Weight", "packed", self.packed, n * k // 2, torch.uint8, f"{of}, two a byte")
        for name, part in (("scale", self.scale), ("minimum", self.minimum)):
            check.check_part("Q4Weight", name, part, n * k // BLOCK, torch.float16, f"{of} in blocks of {BLOCK}")
        check.check_device("Q4Weight", self.tensors())

    @property
    def device(self) -> torch.device:
        """Where its parts live."""
        return self.packed.device

    @property
    def nbytes(self) -> int:
        """Bytes of all parts."""
        return sum(part.nbytes for part in self.tensors())

    def tensors(self) -> list[Tensor]:
        """packed, scale, minimum."""
        return [self.packed, self.scale, self.minimum]

    @classmethod
    def from_tensors(
        cls, tensors: Sequence[Tensor], shape: tuple[int, int], dtype: torch.dtype = torch.float32
    ) -> Self:
        """The inverse of `tensors`."""
        if len(tensors) != 3:
            raise ValueError(f"Q4Weight.from_tensors: got {len(tensors)} tensors, expected packed, scale and minimum")
        packed, scale, minimum = tensors
        return cls(shape, packed, scale, minimum, dtype)

    def to(self, device: torch.device | str) -> Self:
        """The same weight on another device."""
        return type(self).from_tensors([part.to(device) for part in self.tensors()], self.shape, self.dtype)

    @classmethod
    def from_gguf(cls, raw: Any, shape: tuple[int, int], dtype: torch.dtype = torch.float32) -> Self:
        """Read the bytes of a Q4_1 tensor in a GGUF file.

        Args:
            raw: bytes, or an array or tensor of uint8 of any shape (`GGUFReader`'s `tensor.data`).
            shape: (N, K); GGUF itself states it reversed.
            dtype: what the weight decodes to unless told otherwise.

        Raises:
            ValueError: another number of bytes, or scales that are not finite.
        """
        who = "Q4Weight.from_gguf"
        n, k = _check_blocks(who, shape)
        blocks = n * k // BLOCK
        data = raw if isinstance(raw, Tensor) else torch.tensor(bytearray(memoryview(raw).cast("B")), dtype=torch.uint8)
        if data.dtype != torch.uint8:
            raise TypeError(f"{who}: got {data.dtype}, expected uint8")
        if data.numel() != blocks * BYTES:
            expected = f"{blocks * BYTES} ({blocks} blocks of {BYTES})"
            raise ValueError(f"{who}: got {data.numel()} bytes, expected {expected} for shape ({n}, {k})")
        block = data.reshape(blocks, BYTES)
        scale, minimum = block[:, :4].contiguous().view(torch.float16).T.contiguous()  # (blocks,) each
        check.check_finite(who, "scale", scale)
        check.check_finite(who, "minimum", minimum)
        file = block[:, 4:]  # (blocks, 16)
        return cls((n, k), _pack(torch.cat([file & 15, file >> 4], dim=1)), scale, minimum, dtype)

    @classmethod
    def from_float(cls, weight: Tensor) -> Self:
        """Quantise (N, K), K % 32 == 0, of float32, float16 or bfloat16, as the gguf package does.

        Raises:
            ValueError: another shape, not finite, or a range beyond float16. TypeError: another dtype.
        """
        who = "Q4Weight.from_float"
        check.check_source(who, weight)
        n, k = _check_blocks(who, tuple(weight.shape))
        blocks = weight.detach().float().reshape(-1, BLOCK)
        low, high = blocks.amin(1, keepdim=True), blocks.amax(1, keepdim=True)
        step = (high - low) / 15
        inverse = torch.where(step == 0, 0, 1 / step)
        nibbles = torch.trunc((blocks - low) * inverse + 0.5).clamp(0, 15).to(torch.uint8)  # (blocks, 32)
        scale, minimum = step.half().view(-1), low.half().view(-1)
        check.check_finite(who, "scale as float16", scale)
        check.check_finite(who, "minimum as float16", minimum)
        return cls((n, k), _pack(nibbles), scale, minimum, weight.dtype)

    def dequantize(self, dtype: torch.dtype | None = None) -> Tensor:
        """(N, K) in `dtype` (None: that of the weight), equal to the gguf package's bit for bit."""
        nibbles = torch.stack([self.packed >> 4, self.packed & 15], dim=1).view(-1, BLOCK)
        values = nibbles.float().mul_(self.scale.float()[:, None]).add_(self.minimum.float()[:, None])
        return values.view(self.shape).to(dtype or self.dtype)


def _check_blocks(who: str, shape: tuple[int, ...]) -> tuple[int, int]:
    n, k = check.check_shape(who, shape)
    if k % BLOCK:
        raise ValueError(f"{who}: got shape ({n}, {k}), expected K % {BLOCK} == 0: blocks do not straddle rows")
    return n, k


def _pack(nibbles: Tensor) -> Tensor:
    """(blocks, 32) -> (blocks * 16,)."""
    return ((nibbles[:, ::2] << 4) | nibbles[:, 1::2]).view(-1)
