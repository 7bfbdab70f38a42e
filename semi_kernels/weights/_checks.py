"""Refusals that the containers share: each says what it got and what it expected."""

from __future__ import annotations

import torch
from torch import Tensor

DTYPES = (torch.float32, torch.float16, torch.bfloat16)
"""What a 4-bit weight can be made from."""


def check_shape(who: str, shape: tuple[int, ...]) -> tuple[int, int]:
    """(N, K), both at least 1."""
    if len(shape) != 2 or min(shape) < 1:
        raise ValueError(f"{who}: got shape {tuple(shape)}, expected (N, K) with N, K >= 1")
    return int(shape[0]), int(shape[1])


def check_part(who: str, name: str, part: Tensor, length: int, dtype: torch.dtype, why: str) -> None:
    """`part` is a contiguous vector of `length` elements of `dtype`."""
    if not isinstance(part, Tensor) or part.dtype != dtype:
        got = part.dtype if isinstance(part, Tensor) else type(part).__name__
        raise TypeError(f"{who}: got {name} of {got}, expected {dtype}")
    if part.ndim != 1 or part.shape[0] != length:
        raise ValueError(f"{who}: got {name} of shape {tuple(part.shape)}, expected ({length},): {why}")
    if not part.is_contiguous():
        raise ValueError(f"{who}: got {name} with stride {part.stride()}, expected (1,); pass {name}.contiguous()")


def check_device(who: str, parts: list[Tensor]) -> None:
    """All parts live on one device."""
    devices = {part.device for part in parts}
    if len(devices) > 1:
        raise ValueError(f"{who}: got parts on {sorted(map(str, devices))}, expected one device")


def check_source(who: str, weight: Tensor) -> tuple[int, int]:
    """`weight` can be quantised: (N, K), real, finite."""
    if not isinstance(weight, Tensor) or weight.dtype not in DTYPES:
        got = weight.dtype if isinstance(weight, Tensor) else type(weight).__name__
        raise TypeError(f"{who}: got {got}, expected a tensor of float32, float16 or bfloat16")
    shape = check_shape(who, tuple(weight.shape))
    check_finite(who, "weight", weight)
    return shape


def check_finite(who: str, name: str, part: Tensor) -> None:
    """No NaN, no infinity. Waits for the device."""
    finite = torch.isfinite(part)
    if not finite.all():
        raise ValueError(
            f"{who}: got {int((~finite).sum())} non-finite of {part.numel()} values in {name}, expected none"
        )
