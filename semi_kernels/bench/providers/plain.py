"""PyTorch as people write it, the same compiled, and the rank as extra columns of the weight."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable
from functools import cache
from types import FunctionType

import torch
from torch import Tensor
from torch._functorch import config as functorch_config
from torch.nn import functional

from semi_kernels.bench.cases import Case
from semi_kernels.bench.floors import Work
from semi_kernels.bench.problems import SCALE, Problem, compose
from semi_kernels.bench.providers.base import LINEAR, Prepared, Provider, decode, ends, gemm, rotated, stream
from semi_kernels.dispatch import has_triton


def _never(case: Case, device: torch.device) -> str | None:
    return None


def _prepare_eager(problem: Problem) -> Prepared:
    return Prepared(lambda: compose(problem), problem.leaves())


def _eager_passes(case: Case) -> list[Work] | None:
    M, K, N, r = case.M, case.K, case.N, case.r * case.G
    if case.kernel == "isometry":
        return rotated(case)
    if case.kernel not in LINEAR:
        return None
    forward = [*rotated(case), *decode(case), gemm(case, M, N, K), gemm(case, M, r, K), gemm(case, M, N, r)]
    forward += [stream(case, 3 * M * N), *ends(case)]
    # dS, dB, dA, the two parts of dx and their sum; then GELU's derivative and the sums of its columns
    backward = [gemm(case, M, r, N), gemm(case, r, N, M), gemm(case, K, r, M), gemm(case, M, K, r), gemm(case, M, K, N)]
    backward += [stream(case, 3 * M * K), *rotated(case)]
    backward += [stream(case, 3 * M * N), stream(case, M * N)] if case.gelu else []
    return {"fwd": forward, "bwd": backward, "full": forward + backward}[case.mode]


EAGER = Provider("eager", _never, _prepare_eager, _eager_passes)


def _no_compiler(case: Case, device: torch.device) -> str | None:
    if device.type == "cpu" and not any(map(shutil.which, ("c++", "g++", "clang++"))):
        return "torch.compile needs a C++ compiler on a CPU, and there is none"
    if device.type == "cuda" and not has_triton():
        return "torch.compile needs Triton on a GPU, and it is not installed"
    return None


@cache
def _compiled(*structure: object) -> Callable[[Problem], Tensor]:
    """One compiled function for all M of a structure, with code of its own: recompilations are counted by code."""
    own = FunctionType(compose.__code__.replace(co_name=f"compose_{len(_seen)}"), compose.__globals__)
    own.__defaults__ = compose.__defaults__
    _seen.append(structure)
    function: Callable[[Problem], Tensor] = torch.compile(own, dynamic=False)
    return function


_seen: list[tuple[object, ...]] = []


def _prepare_compiled(problem: Problem) -> Prepared:
    case = problem.case
    function = _compiled(case.kernel, case.K, case.N, case.mode, case.G, case.dtype, case.quantisation, case.isometry)
    torch._dynamo.maybe_mark_dynamic(problem.x, 0)
    if problem.rows is not None:
        torch._dynamo.maybe_mark_dynamic(problem.rows, 0)
    torch._dynamo.maybe_mark_dynamic(problem.dy, 0)

    def call() -> Tensor:
        return function(problem)

    # The backward is timed again and again over one graph; donated buffers would forbid that, also while it runs.
    functorch_config.donated_buffer = False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what it could compile better elsewhere
        with torch.set_grad_enabled(case.mode != "fwd"):
            y = call()
            if case.mode != "fwd":
                torch.autograd.grad(y, problem.leaves(), problem.dy)
    return Prepared(call, problem.leaves())


def _compiled_passes(case: Case) -> list[Work] | None:
    M, K, N, r = case.M, case.K, case.N, case.r * case.G
    if case.kernel not in LINEAR or case.mode != "fwd":
        return None
    products = [gemm(case, M, N, K), gemm(case, M, r, K), gemm(case, M, N, r)]
    return [*rotated(case), *decode(case), *products, stream(case, 3 * M * N)]


COMPILED = Provider("torch.compile", _no_compiler, _prepare_compiled, _compiled_passes)


def _no_columns(case: Case, device: torch.device) -> str | None:
    if case.kernel not in LINEAR:
        return f"rank as columns is a way to compute a linear layer, not {case.kernel}"
    if case.quantisation != "dense":
        return "rank as columns needs the weight in 16 or 32 bits"
    if case.G > 1:
        return "rank as columns has one adapter a call"
    if case.mode != "fwd":
        return "rank as columns is for inference: its backward would compute the gradient of the weight too"
    return None


def _prepare_columns(problem: Problem) -> Prepared:
    """[x | x A] [W | s B^T]^T + (bias + adapter's bias): one product of width K + r."""
    layer, x = problem.first, problem.x
    if layer.A is None or layer.B is None:
        raise ValueError("rank-as-columns: got no adapter, expected one")
    A = layer.A[0]
    K = A.shape[0]
    wide = torch.cat([layer.dense(x.dtype), SCALE * layer.B[0].T], dim=1)  # (N, K + r)
    bias = layer.bias
    if bias is not None and layer.adapter_bias is not None:
        bias = bias + layer.adapter_bias[0]
    both = x.new_empty(x.shape[0], wide.shape[1])

    def call() -> Tensor:
        rotated_x = x if problem.matrix is None else x @ problem.matrix
        both[:, :K].copy_(rotated_x)
        torch.mm(rotated_x, A, out=both[:, K:])
        y = functional.linear(both, wide, bias)
        return functional.gelu(y, approximate="tanh") if problem.case.gelu else y

    return Prepared(call, problem.leaves())


def _columns_passes(case: Case) -> list[Work] | None:
    M, K, N, r = case.M, case.K, case.N, case.r
    products = [stream(case, 2 * M * K), gemm(case, M, r, K), gemm(case, M, N, K + r)]
    return [*rotated(case), *products, *ends(case, bias=False)]


COLUMNS = Provider("rank-as-columns", _no_columns, _prepare_columns, _columns_passes)
