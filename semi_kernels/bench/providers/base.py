"""What a provider is, and what its kernels must move at the least."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from semi_kernels.bench.cases import Case
from semi_kernels.bench.floors import Work, weight_bytes
from semi_kernels.bench.problems import Problem

LINEAR = ("fused_lora", "nf4_linear", "q4_linear")
"""Kernels that are one linear layer with an adapter."""


@dataclass(frozen=True)
class Prepared:
    """A provider ready to compute one problem."""

    call: Callable[[], Tensor]
    leaves: Sequence[Tensor]
    """What it takes gradients of, in the order of `Problem.leaves`."""
    as_ours: Callable[[Sequence[Tensor]], Sequence[Tensor]] = field(default=lambda gradients: gradients)
    """Its gradients in the shapes of `Problem.leaves`."""
    note: str = ""
    """How it was done, where that is not plain from the provider's name."""


@dataclass(frozen=True)
class Provider:
    """Someone who computes the function of a case."""

    name: str
    obstacle: Callable[[Case, torch.device], str | None]
    """Why it cannot compute a case here; None where it can."""
    prepare: Callable[[Problem], Prepared]
    """What is done once, before the clock runs."""
    passes: Callable[[Case], list[Work] | None]
    """The kernels it cannot do without, for its own roof; None where that is not known."""


def gemm(case: Case, m: int, n: int, k: int) -> Work:
    """A matrix product (m, k) (k, n) of its own."""
    return Work((m * k + k * n + m * n) * case.itemsize, 2 * m * n * k)


def stream(case: Case, numbers: int) -> Work:
    """An elementwise kernel that reads and writes so many numbers in all."""
    return Work(numbers * case.itemsize, 0)


def decode(case: Case) -> list[Work]:
    """Writing a 4-bit weight in 16 bits; nothing for a dense one."""
    if case.quantisation == "dense":
        return []
    return [Work(weight_bytes(case, case.K, case.N) + case.K * case.N * case.itemsize, 0)]


def ends(case: Case, bias: bool = True) -> list[Work]:
    """The adapter's bias (unless it is part of something else) and GELU as kernels of their own."""
    MN = case.M * case.N
    return [stream(case, 2 * MN)] * (int(bias and case.biased) + int(case.gelu))


def rotated(case: Case) -> list[Work]:
    """A dense isometry applied to x."""
    return [] if case.isometry == "none" else [gemm(case, case.M, case.K, case.K)]
