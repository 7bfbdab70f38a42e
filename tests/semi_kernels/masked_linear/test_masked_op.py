"""The operation: what it means, gradients, registration, compilation, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from semi_kernels.masked_linear import masked_nf4_linear, pack_mask
from semi_kernels.weights import NF4Weight, flatten
from tests.semi_kernels.masked_linear.masked_layers import LAYOUTS, layer, random


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("leading", [(), (3,), (2, 3), (0,)], ids=str)
def test_it_is_a_linear_layer_of_the_masked_sum(layout: str, leading: tuple[int, ...]) -> None:
    given = layer(layout, 6, 64)
    x = random(*leading, 64, seed=5)
    y = masked_nf4_linear(x, given.weight, given.tau, given.mask, bias=given.bias, scale=given.scale)
    torch.testing.assert_close(y, torch.nn.functional.linear(x, given.exact().float(), given.bias))


def test_a_merge_of_one_model_without_trimming_recovers_it() -> None:
    """MMER, fact 3: theta_0 + m * tau with a full mask is the model itself."""
    theta, theirs = random(5, 32), random(5, 32, seed=1)
    x = random(2, 32, seed=2)
    full = pack_mask(torch.ones(5, 32, dtype=torch.bool))
    torch.testing.assert_close(masked_nf4_linear(x, theta, theirs - theta, full), x @ theirs.T)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_gradients(layout: str) -> None:
    given = layer(layout, 2, 32 if layout == "q4_1" else 9)
    x = random(2, given.tau.shape[1], seed=5).double().requires_grad_()
    bias = random(2, seed=6).double().requires_grad_()

    def function(x: Tensor, bias: Tensor) -> Tensor:
        return masked_nf4_linear(x, given.weight, given.tau, given.mask, bias=bias, scale=given.scale)

    assert torch.autograd.gradcheck(function, (x, bias))
    if layout == "dense":
        assert torch.autograd.gradgradcheck(function, (x, bias))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_opcheck(layout: str) -> None:
    given = layer(layout, 5, 64)
    parts, name, N, K = flatten(given.weight)
    x = random(3, 64, seed=5).requires_grad_()
    linear = torch.ops.semi_kernels.masked_linear.default
    torch.library.opcheck(linear, (x, parts, name, N, given.tau, given.mask, given.scale, given.bias))
    written = torch.ops.semi_kernels.masked_weight.default
    torch.library.opcheck(written, (parts, name, N, K, given.tau, given.mask, None, torch.bfloat16))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_compiles_whole_with_any_number_of_rows(layout: str) -> None:
    torch._dynamo.reset()
    given = layer(layout, 5, 64)

    def function(x: Tensor) -> Tensor:
        return masked_nf4_linear(x, given.weight, given.tau, given.mask, bias=given.bias, scale=given.scale) * 2

    compiled = torch.compile(function, backend="aot_eager", fullgraph=True, dynamic=True)
    for M in (2, 5, 200):
        x = random(M, 64, seed=5).requires_grad_()
        torch.testing.assert_close(compiled(x), function(x))
        dx, expected = (torch.autograd.grad(f(x).sum(), x)[0] for f in (compiled, function))
        torch.testing.assert_close(dx, expected)


def test_autocast_chooses_the_dtype() -> None:
    given = layer("nf4", 5, 64)
    x = random(3, 64, seed=5)
    with torch.autocast("cpu", torch.bfloat16):
        y = masked_nf4_linear(x, given.weight, given.tau, given.mask, bias=given.bias)
    assert y.dtype == torch.bfloat16
    assert torch.equal(y, masked_nf4_linear(x.bfloat16(), given.weight, given.tau, given.mask, bias=given.bias))


BAD: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"x": torch.ones(2, 63)}, ValueError, r"got x of shape \(2, 63\), expected \(\.\.\., 64\) for a weight \(5, 64\)"),
    ({"x": torch.tensor(1.0)}, ValueError, r"got x of shape \(\), expected \(\.\.\., 64\)"),
    ({"x": torch.ones(2, 64).int()}, TypeError, r"got x of torch.int32, expected a real floating dtype"),
    ({"tau": torch.ones(64, 5)}, ValueError, r"got tau of shape \(64, 5\), expected \(5, 64\)"),
    ({"mask": torch.ones(5, 64, dtype=torch.bool)}, TypeError, r"got mask of torch.bool, expected torch.uint8"),
    ({"mask": torch.ones(39, dtype=torch.uint8)}, ValueError, r"got mask of shape \(39,\), expected \(40,\): 320 entr"),
    ({"bias": torch.ones(4)}, ValueError, r"got bias of shape \(4,\), expected \(5,\)"),
    ({"scale": torch.ones(5, 1)}, ValueError, r"got scale of shape \(5, 1\), expected \(5,\)"),
    ({"tau": torch.ones(5, 64, device="meta")}, ValueError, "got tau on meta, expected cpu, the device of x"),
    ({"weight": None}, TypeError, "got no weight, expected a tensor"),
    ({"tau": torch.ones(5, 64, requires_grad=True)}, ValueError, "got a tau that requires a gradient.*detach it"),
    ({"weight": torch.ones(5, 64, requires_grad=True)}, ValueError, "got a weight that requires a gradient"),
]


@pytest.mark.parametrize(("arguments", "error", "said"), BAD, ids=[said[:40] for _, _, said in BAD])
def test_bad_input(arguments: dict[str, Any], error: type[Exception], said: str) -> None:
    weight = NF4Weight.from_float(random(5, 64))
    good: dict[str, Any] = {"x": torch.ones(2, 64), "weight": weight, "tau": torch.ones(5, 64)}
    good["mask"] = torch.ones(40, dtype=torch.uint8)
    with pytest.raises(error, match=said):
        masked_nf4_linear(**(good | arguments))


def test_a_parameter_is_frozen_where_no_gradient_is_asked_for() -> None:
    W = torch.nn.Parameter(random(5, 64))
    with torch.no_grad():
        masked_nf4_linear(torch.ones(2, 64), W, torch.ones(5, 64), torch.zeros(40, dtype=torch.uint8))
