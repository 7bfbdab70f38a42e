"""The operations of semi_kernels, called as a user calls them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

import semi_kernels
from semi_kernels.bench.cases import Case
from semi_kernels.bench.floors import Work
from semi_kernels.bench.problems import SCALE, Problem
from semi_kernels.bench.providers.base import Prepared, Provider
from semi_kernels.weights import NF4Weight, Q4Weight


def _fused_lora(problem: Problem) -> Tensor:
    layer = problem.first
    return semi_kernels.fused_lora(
        problem.x,
        layer.weight,
        layer.A,
        layer.B,
        bias=layer.bias,
        adapter_bias=layer.adapter_bias,
        rows=problem.rows,
        isometry=problem.isometry,
        scale=SCALE,
        activation="gelu_tanh",
    )


def _nf4_linear(problem: Problem) -> Tensor:
    layer, weight = problem.first, problem.first.weight
    if not isinstance(weight, NF4Weight):
        raise TypeError(f"nf4_linear: got {type(weight).__name__}, expected NF4Weight")
    return semi_kernels.nf4_linear(problem.x, weight, layer.A, layer.B, bias=layer.bias, scale=SCALE)


def _q4_linear(problem: Problem) -> Tensor:
    layer, weight = problem.first, problem.first.weight
    if not isinstance(weight, Q4Weight):
        raise TypeError(f"q4_linear: got {type(weight).__name__}, expected Q4Weight")
    return semi_kernels.q4_linear(problem.x, weight, layer.A, layer.B, bias=layer.bias, scale=SCALE)


def _masked(problem: Problem) -> Tensor:
    if problem.tau is None or problem.mask is None:
        raise ValueError("masked_nf4_linear: got no task vector, expected one")
    return semi_kernels.masked_nf4_linear(problem.x, problem.first.weight, problem.tau, problem.mask)


def projected(problem: Problem) -> Tensor:
    """Both layers of a projector."""
    first, second = (semi_kernels.Layer(o.weight, o.bias, o.A, o.B, o.adapter_bias) for o in problem.layers)
    return semi_kernels.projector_mlp(problem.x, first, second, rows=problem.rows, scale=SCALE)


def _isometry(problem: Problem) -> Tensor:
    if problem.isometry is None:
        raise ValueError("isometry: got none, expected one")
    return problem.isometry.apply(problem.x)


_CALLS: dict[str, Callable[[Problem], Tensor]] = {
    "fused_lora": _fused_lora,
    "projector_mlp": projected,
    "nf4_linear": _nf4_linear,
    "q4_linear": _q4_linear,
    "masked_nf4_linear": _masked,
    "isometry": _isometry,
}


def _never(case: Case, device: torch.device) -> str | None:
    return None


def _prepare(problem: Problem) -> Prepared:
    call = _CALLS[problem.case.kernel]
    return Prepared(lambda: call(problem), problem.leaves())


def _passes(case: Case) -> list[Work] | None:
    return None  # it is measured against the floor itself


OURS = Provider("ours", _never, _prepare, _passes)
