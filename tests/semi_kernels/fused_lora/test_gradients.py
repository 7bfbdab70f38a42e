"""Gradients: of the reference against finite differences, of the kernels against the reference in float64."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from semi_kernels.fused_lora import fused_lora
from tests.semi_kernels.fused_lora.cases import Case, in_float64, make
from tests.semi_kernels.numerics import DTYPES, assert_close_to_float64

LEARNED = ("x", "A", "B", "bias", "adapter_bias")
CASES = [
    Case(M=5, activation="gelu_tanh"),
    Case(M=17, K=63, weight="nf4_nested", activation="gelu_tanh"),
    Case(M=17, G=3, K=64, weight="q4_1", activation="gelu_tanh"),
    Case(M=3, G=17, K=64, weight="nf4"),  # most adapters have no row
    Case(M=130, K=64, activation="gelu_tanh"),
    Case(M=130, G=3, K=64, weight="nf4_nested", activation="gelu_tanh"),
    Case(M=17, K=64, isometry="householder"),
    Case(M=17, K=65, isometry="signed_permutation", G=3),
    Case(M=17, K=96, isometry="hadamard"),
    Case(M=17, K=33, isometry="haar"),
    Case(M=5, base=False, activation="gelu_tanh"),
    Case(M=5, r=0),
    Case(M=0, G=3),
    Case(M=0),
]


def gradients(arguments: dict[str, Any], names: tuple[str, ...] = LEARNED) -> dict[str, Tensor]:
    """By every learned argument there is, of a weighted sum of the result."""
    leaves = {k: arguments[k].detach().clone().requires_grad_() for k in names if arguments[k] is not None}
    y = fused_lora(**{**arguments, **leaves})
    direction = torch.randn(y.shape, generator=torch.Generator().manual_seed(9), dtype=torch.float64).to(y.dtype)
    return dict(zip(leaves, torch.autograd.grad(y, list(leaves.values()), direction), strict=True))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_gradcheck_of_the_reference(case: Case) -> None:
    arguments = in_float64(make(Case(**{**vars(case), "M": min(case.M, 6), "N": 7}), torch.float32))
    leaves = {k: arguments[k].detach().clone().requires_grad_() for k in LEARNED if arguments[k] is not None}

    def computed(*values: Tensor) -> Tensor:
        return fused_lora(**{**arguments, **dict(zip(leaves, values, strict=True))})

    assert torch.autograd.gradcheck(computed, tuple(leaves.values()), fast_mode=True, atol=1e-6)


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: str(d).removeprefix("torch."))
@pytest.mark.parametrize("case", CASES, ids=str)
def test_gradients_of_the_kernels(case: Case, dtype: torch.dtype, kernels: pytest.MonkeyPatch) -> None:
    arguments = make(case, dtype)
    got = gradients(arguments)
    kernels.setenv("SEMI_KERNELS", "reference")
    exact, eager = gradients(in_float64(arguments)), composed(arguments)
    for name, gradient in got.items():
        assert_close_to_float64(gradient, exact[name], eager[name])


def composed(arguments: dict[str, Any]) -> dict[str, Tensor]:
    """Gradients of the layer as one would write it in eager PyTorch, by autograd alone."""
    leaves = {k: arguments[k].detach().clone().requires_grad_() for k in LEARNED if arguments[k] is not None}
    of = {**arguments, **leaves}
    x, weight, A, B, rows = (of[k] for k in ("x", "weight", "A", "B", "rows"))
    weight = weight if isinstance(weight, Tensor) else weight.dequantize(x.dtype)
    R = of["isometry"]
    x = x if R is None else x @ R.matrix().to(x)
    g = torch.zeros(len(x), dtype=torch.long) if rows is None else rows
    y = (x @ weight.T) if of["base"] else x.new_zeros(len(x), len(weight))
    y = y + of["bias"]
    if A is not None:
        low = torch.stack([x @ a @ b for a, b in zip(A, B, strict=True)])  # (G, M, N)
        y = y + of["scale"] * low[g, torch.arange(len(x))] + of["adapter_bias"][g]
    y = torch.nn.functional.gelu(y, approximate="tanh") if of["activation"] else y
    direction = torch.randn(y.shape, generator=torch.Generator().manual_seed(9), dtype=torch.float64).to(y.dtype)
    return dict(zip(leaves, torch.autograd.grad(y, list(leaves.values()), direction), strict=True))


@pytest.mark.parametrize("names", [("x",), ("A",), ("B",), ("bias",), ("adapter_bias",), ("A", "B")], ids="+".join)
def test_only_what_is_asked_for(names: tuple[str, ...], kernels: pytest.MonkeyPatch) -> None:
    arguments = make(Case(M=5, activation="gelu_tanh"), torch.float32)
    every = gradients(arguments)
    for name, gradient in gradients(arguments, names).items():
        assert torch.equal(gradient, every[name])


@pytest.mark.parametrize("case", [Case(M=17, weight="nf4_nested", activation="gelu_tanh"), Case(M=130, G=3)], ids=str)
def test_twenty_backward_runs_are_the_same_bits(case: Case, kernels: pytest.MonkeyPatch) -> None:
    arguments = make(case, torch.float32)
    first = gradients(arguments)
    for _ in range(19):
        assert all(torch.equal(gradient, first[name]) for name, gradient in gradients(arguments).items())


def test_x_is_not_kept_without_an_adapter(kernels: pytest.MonkeyPatch) -> None:
    """A frozen 4-bit language model would otherwise hold on to every layer's activations."""
    arguments = make(Case(M=64, r=0, weight="nf4"), torch.float32)
    arguments["x"] = arguments["x"].clone().requires_grad_()
    held: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: held.append(t) or t, lambda t: t):
        fused_lora(**arguments)
    assert max(t.numel() for t in held if t.is_floating_point()) < arguments["x"].numel()
