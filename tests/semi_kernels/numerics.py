"""One standard for every kernel: float64 on the same rounded inputs, and eager PyTorch in the same dtype beside it."""

from __future__ import annotations

from math import sqrt

import torch
from torch import Tensor

RMS = {torch.bfloat16: 5e-3, torch.float16: 1e-3, torch.float32: 1e-5}
"""Largest rms(error) / rms(reference)."""
DTYPES = tuple(RMS)


def assert_close_to_float64(got: Tensor, reference: Tensor, eager: Tensor) -> None:
    """The error against float64 is at most twice eager's, in the mean square and at worst, and small for the dtype.

    Beside that one entry may be a unit in the last place of the largest off, and all of them a sixteenth: which sums
    eager rounds well depends on the CPU, and of a case of one output or five it may by chance have rounded all.
    """
    assert got.shape == reference.shape, (got.shape, reference.shape)
    assert got.dtype == eager.dtype, (got.dtype, eager.dtype)
    if not reference.numel():
        return
    assert torch.isfinite(got).all(), "not finite: read past an end, or left an output unwritten"
    error, eagers = (got.double() - reference).abs(), (eager.double() - reference).abs()
    scale = reference.square().mean().sqrt()
    assert float(rms(error)) <= RMS[got.dtype] * float(scale), f"rms {float(rms(error) / scale):.2e} of the reference's"
    unit = torch.finfo(got.dtype).eps * float(reference.abs().max())
    allowed = unit * max(1 / 16, 1 / sqrt(reference.numel()))
    assert float(rms(error)) <= 2 * float(rms(eagers)) + allowed, f"rms {rms(error):.2e}, eager {rms(eagers):.2e}"
    assert float(error.max()) <= 2 * float(eagers.max()) + unit, f"max {error.max():.2e}, eager {eagers.max():.2e}"


def rms(x: Tensor) -> Tensor:
    """Root mean square."""
    return x.double().square().mean().sqrt()


def guarded(x: Tensor) -> Tensor:
    """x inside memory that is NaN (or 255, -1) before and behind it: what a kernel must never read shows."""
    pad, n = 64, x.numel()
    fill = float("nan") if x.is_floating_point() else (255 if x.dtype == torch.uint8 else -1)
    memory = torch.full((n + 2 * pad,), fill, dtype=x.dtype, device=x.device)
    memory[pad : pad + n] = x.reshape(-1)
    return memory[pad : pad + n].view(x.shape)


def strided(x: Tensor) -> Tensor:
    """x (m, k) as every second column of a wider NaN-filled matrix."""
    wide = torch.full((x.shape[0], 2 * x.shape[1] + 3), float("nan"), dtype=x.dtype, device=x.device)
    wide[:, 1 : 2 * x.shape[1] : 2] = x
    return wide[:, 1 : 2 * x.shape[1] : 2]


def transposed(x: Tensor) -> Tensor:
    """x (m, k), stored column by column."""
    return x.t().contiguous().t()
