"""One bit an entry."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def pack_mask(mask: Tensor) -> Tensor:
    """bool of any shape -> uint8 (ceil(entries / 8),): flat entry 8i + j is bit j of byte i, the least one first.

    Raises:
        TypeError: not bool.
    """
    if mask.dtype != torch.bool:
        raise TypeError(f"pack_mask: got {mask.dtype}, expected torch.bool")
    flat = mask.reshape(-1).to(torch.uint8)
    bits = torch.nn.functional.pad(flat, (0, -len(flat) % 8)).view(-1, 8)  # (bytes, 8)
    packed = bits[:, 0].clone()
    for j in range(1, 8):
        packed |= bits[:, j] << j
    return packed


def unpack_mask(packed: Tensor, shape: Sequence[int]) -> Tensor:
    """uint8 (ceil(entries / 8),) -> bool of `shape`, the inverse of `pack_mask`; bits behind the last are ignored.

    Raises:
        TypeError: not uint8. ValueError: another number of bytes.
    """
    entries = math.prod(shape)
    check_mask("unpack_mask", packed, entries)
    bits = packed[:, None] >> torch.arange(8, dtype=torch.uint8, device=packed.device)
    return (bits & 1).view(-1)[:entries].view(torch.bool).view(*shape)


def check_mask(who: str, packed: Tensor, entries: int) -> None:
    """`packed` holds a bit for each of the entries."""
    if packed.dtype != torch.uint8:
        raise TypeError(f"{who}: got mask of {packed.dtype}, expected torch.uint8; pack it with pack_mask")
    size = (entries + 7) // 8
    if packed.ndim != 1 or packed.shape[0] != size:
        got = f"got mask of shape {tuple(packed.shape)}"
        raise ValueError(f"{who}: {got}, expected ({size},): {entries} entries, eight a byte")
