"""How wrong a provider is: float64 on the same rounded inputs is right."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from semi_kernels.bench.problems import Problem, compose
from semi_kernels.bench.providers import Prepared


def truth(problem: Problem) -> list[Tensor]:
    """The result in float64 and, where the case has a backward, the gradients of `problem.leaves()`."""
    if problem.case.mode == "fwd":
        with torch.no_grad():
            return [compose(problem, torch.float64)]
    y = compose(problem, torch.float64)
    return [y.detach(), *torch.autograd.grad(y, problem.leaves(), problem.dy.double())]


def error(got: Sequence[Tensor], right: Sequence[Tensor]) -> float:
    """The largest error, in units of the root mean square of what it is an error of; the worst of all tensors."""
    worst = 0.0
    for mine, reference in zip(got, right, strict=True):
        if not reference.numel():
            continue
        scale = reference.double().square().mean().sqrt().clamp_min(1e-300)
        # NaN must not pass for small: max() would drop it
        largest = float((mine.double() - reference.double()).abs().nan_to_num(nan=float("inf")).max() / scale)
        worst = max(worst, largest)
    return worst


def results(problem: Problem, prepared: Prepared) -> list[Tensor]:
    """What a provider computes, laid out as `truth`."""
    if problem.case.mode == "fwd":
        with torch.no_grad():
            return [prepared.call()]
    y = prepared.call()
    gradients = torch.autograd.grad(y, list(prepared.leaves), problem.dy)
    return [y.detach(), *prepared.as_ours(gradients)]
