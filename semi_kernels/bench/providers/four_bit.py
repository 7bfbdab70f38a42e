"""The peers of 4-bit language models: bitsandbytes with PEFT's adapter, and the way Unsloth does it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from semi_kernels.bench.cases import Case
from semi_kernels.bench.floors import Work, weight_bytes
from semi_kernels.bench.problems import SCALE, Problem
from semi_kernels.bench.providers.base import LINEAR, Prepared, Provider, decode, ends, gemm, rotated, stream


def _no_bitsandbytes(case: Case, device: torch.device) -> str | None:
    if case.kernel not in ("fused_lora", "nf4_linear") or case.quantisation != "nf4":
        return "bitsandbytes computes linear layers of NF4 weights only"
    if case.G > 1:
        return "PEFT applies one adapter to a whole call in training"
    return None if find_spec("bitsandbytes") else "bitsandbytes is not installed"


def _prepare_bitsandbytes(problem: Problem) -> Prepared:
    layer, case = problem.first, problem.case
    base = _linear4bit(problem)
    if find_spec("peft"):
        linear, lora_A, lora_B, note = *_peft(base, case), "PEFT's own layer"
    else:
        linear, lora_A, lora_B, note = *_as_peft(base, case), "PEFT is not installed: the composition it performs"
    if layer.A is None or layer.B is None:
        raise ValueError("bitsandbytes: got no adapter, expected one")
    dtype, device, trained = problem.x.dtype, problem.x.device, case.mode != "fwd"
    lora_A.weight = nn.Parameter(layer.A.detach()[0].T.contiguous(), requires_grad=trained)
    lora_B.weight = nn.Parameter(layer.B.detach()[0].T.contiguous(), requires_grad=trained)
    linear.to(device).train(trained)
    x, adapter_bias = problem.x, layer.adapter_bias

    def call() -> Tensor:
        y: Tensor = linear(x if problem.matrix is None else x @ problem.matrix)
        y = y if adapter_bias is None else y + adapter_bias[0]
        y = functional.gelu(y, approximate="tanh") if case.gelu else y
        return y.to(dtype)

    def as_ours(gradients: Sequence[Tensor]) -> Sequence[Tensor]:
        dx, dA, dB, *rest = gradients
        return [dx, dA.T[None], dB.T[None], *rest]

    leaves = [x, lora_A.weight, lora_B.weight, *([] if adapter_bias is None else [adapter_bias])]
    return Prepared(call, leaves, as_ours, note)


def _linear4bit(problem: Problem) -> nn.Module:
    """bitsandbytes' layer over the very bits of the problem's weight."""
    bnb: Any = import_module("bitsandbytes.nn")

    packed, state = deepcopy(problem.bnb)  # on some CPUs the layer repacks its weight, in place
    case, bias = problem.case, problem.first.bias
    layer: Any = bnb.Linear4bit(case.K, case.N, bias is not None, problem.x.dtype, quant_type="nf4", device="meta")
    layer.weight = bnb.Params4bit(packed, requires_grad=False, quant_state=state, quant_type="nf4", bnb_quantized=True)
    if bias is not None:
        layer.bias = nn.Parameter(bias.detach().clone(), requires_grad=False)
    if case.mode != "fwd":
        layer.support_avx512bf16_for_cpu = False  # the repacked weight has no backward
    module: nn.Module = layer
    return module


def _peft(base: nn.Module, case: Case) -> tuple[nn.Module, nn.Linear, nn.Linear]:
    peft: Any = import_module("peft")  # not a dependency: measured where it is installed
    config = peft.LoraConfig(r=case.r, lora_alpha=SCALE * case.r, target_modules=["0"], lora_dropout=0.0)
    model: Any = peft.inject_adapter_in_model(config, nn.Sequential(base))
    return model[0], model[0].lora_A["default"], model[0].lora_B["default"]


def _as_peft(base: nn.Module, case: Case) -> tuple[nn.Module, nn.Linear, nn.Linear]:
    module = _Composition(base, case)
    return module, module.lora_A, module.lora_B


class _Composition(nn.Module):
    """What `forward` of PEFT's bnb.Linear4bit does, kernel by kernel (0.21: clone, two linears, scale, add)."""

    def __init__(self, base: nn.Module, case: Case) -> None:
        super().__init__()
        self.base = base
        self.lora_A = nn.Linear(case.K, case.r, bias=False, device="meta")
        self.lora_B = nn.Linear(case.r, case.N, bias=False, device="meta")

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.base(x).clone()
        update: Tensor = self.lora_B(self.lora_A(x)) * SCALE
        return result + update.to(result.dtype)


def _bitsandbytes_passes(case: Case) -> list[Work] | None:
    if case.mode != "fwd":
        return None
    M, K, N, r = case.M, case.K, case.N, case.r
    MN = M * N
    fused = Work(weight_bytes(case, K, N) + (M * K + MN) * case.itemsize, 2 * M * K * N)
    after = [stream(case, 2 * MN), stream(case, 2 * MN), stream(case, 3 * MN)]  # clone, scale, add
    return [*rotated(case), fused, gemm(case, M, r, K), gemm(case, M, N, r), *after, *ends(case)]


BITSANDBYTES = Provider("bitsandbytes+PEFT", _no_bitsandbytes, _prepare_bitsandbytes, _bitsandbytes_passes)


def _no_unsloth(case: Case, device: torch.device) -> str | None:
    if case.kernel not in LINEAR:
        return f"Unsloth's path is a linear layer with LoRA, not {case.kernel}"
    if case.quantisation == "q4_1":
        return "Unsloth decodes NF4 only"
    return "Unsloth's path has one adapter a call" if case.G > 1 else None


class _UnslothLinear(torch.autograd.Function):
    """y = x W^T + s (x A) B, the update added in place; W is decoded to 16 bits once in each direction."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, A: Tensor, B: Tensor, bias: Tensor | None, weight: Callable[[], Tensor]) -> Tensor:
        y = functional.linear(x, weight(), bias)
        y.addmm_(x @ A, B, alpha=SCALE)
        ctx.save_for_backward(x, A, B)
        ctx.weight = weight
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        x, A, B = ctx.saved_tensors
        dS = dy @ B.T  # (M, r)
        dA = torch.empty_like(A).addmm_(x.T, dS, alpha=SCALE, beta=0)
        dB = torch.empty_like(B).addmm_((x @ A).T, dy, alpha=SCALE, beta=0)
        dx = dy @ ctx.weight()
        dx.addmm_(dS, A.T, alpha=SCALE)
        return dx, dA, dB, dy.sum(0) if ctx.needs_input_grad[3] else None, None


def _prepare_unsloth(problem: Problem) -> Prepared:
    layer, case, x = problem.first, problem.case, problem.x
    A, B = layer.A, layer.B
    if A is None or B is None:
        raise ValueError("Unsloth-style: got no adapter, expected one")
    weight, note = _decoder(problem)

    def call() -> Tensor:
        bias = layer.bias
        if bias is not None and layer.adapter_bias is not None:
            bias = bias + layer.adapter_bias[0]
        rotated_x = x if problem.matrix is None else x @ problem.matrix
        y: Tensor = _UnslothLinear.apply(rotated_x, A[0], B[0], bias, weight)  # type: ignore[no-untyped-call]
        return functional.gelu(y, approximate="tanh") if case.gelu else y

    return Prepared(call, problem.leaves(), note=note)


def _decoder(problem: Problem) -> tuple[Callable[[], Tensor], str]:
    """Unsloth decodes with bitsandbytes' kernel; where that is missing, ours stands in, lest the baseline suffer."""
    layer, dtype = problem.first, problem.x.dtype
    if problem.case.quantisation == "dense":
        dense = layer.dense(dtype)
        return lambda: dense, ""
    if problem.bnb is not None:
        from bitsandbytes.functional import dequantize_4bit

        packed, state = problem.bnb
        return lambda: dequantize_4bit(packed, state).to(dtype), "decodes with bitsandbytes"
    from semi_kernels.dequantise import dequantise

    return lambda: dequantise(layer.weight, dtype=dtype), "bitsandbytes is not installed: decodes with our kernel"


def _unsloth_passes(case: Case) -> list[Work] | None:
    if case.mode != "fwd":
        return None
    M, K, N, r = case.M, case.K, case.N, case.r
    update = Work((M * r + r * N + 2 * M * N) * case.itemsize, 2 * M * r * N)
    return [*rotated(case), *decode(case), gemm(case, M, N, K), gemm(case, M, r, K), update, *ends(case, bias=False)]


UNSLOTH = Provider("Unsloth-style", _no_unsloth, _prepare_unsloth, _unsloth_passes)
