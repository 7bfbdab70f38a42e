"""The operation: gradients, registration, compilation, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from semi_kernels.dequantise import dequantise
from semi_kernels.weights import NF4Weight, Q4Weight, flatten

SHAPE = (6, 64)


def random(n: int, k: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(n, k, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def weights() -> list[Any]:
    W = random(*SHAPE)
    return [W, NF4Weight.from_float(W), NF4Weight.from_float(W, nested=False), Q4Weight.from_float(W)]


@pytest.mark.parametrize("weight", weights(), ids=lambda w: flatten(w)[1])
def test_the_result_is_rounded_once(weight: Any) -> None:
    A, B = random(64, 3, 1), random(3, 6, 2)
    W = weight if isinstance(weight, Tensor) else weight.dequantize()
    torch.testing.assert_close(dequantise(weight, A, B, 0.5), W + 0.5 * (A @ B).T)
    rounded = (W.double() + 0.5 * (A.double() @ B.double()).T).bfloat16()
    different = dequantise(weight, A, B, 0.5, torch.bfloat16) != rounded
    assert different.double().mean() < 0.01  # ties of float32


def test_a_dense_weight_without_adapter_is_only_cast() -> None:
    W = random(*SHAPE)
    assert dequantise(W) is W
    assert torch.equal(dequantise(W, dtype=torch.float16), W.half())


def test_float64_is_the_references() -> None:
    weight = NF4Weight.from_float(random(*SHAPE))
    assert torch.equal(dequantise(weight, dtype=torch.float64), weight.dequantize().double())


@pytest.mark.parametrize("weight", [random(2, 5), NF4Weight.from_float(random(2, 5))], ids=["dense", "nf4_nested"])
def test_gradients_of_the_adapter(weight: Any) -> None:
    A, B = random(5, 3, 1, torch.float64).requires_grad_(), random(3, 2, 2, torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda A, B: dequantise(weight, A, B, 0.7, torch.float64), (A, B))


def test_gradients_follow_the_adapters_dtype_and_spare_the_weight() -> None:
    W = random(*SHAPE).requires_grad_()
    A, B = random(64, 2, 1).bfloat16().requires_grad_(), random(2, 6, 2).bfloat16()
    dA, dW = torch.autograd.grad(dequantise(W, A, B).sum(), (A, W), allow_unused=True)
    assert dA.dtype == torch.bfloat16
    assert dW is None


@pytest.mark.parametrize("weight", weights(), ids=lambda w: flatten(w)[1])
def test_opcheck(weight: Any) -> None:
    parts, layout, n, k = flatten(weight)
    A, B = random(k, 3, 1).requires_grad_(), random(3, n, 2).requires_grad_()
    torch.library.opcheck(torch.ops.semi_kernels.dequantise.default, (parts, layout, n, k, A, B, 1.0, torch.float32))


@pytest.mark.parametrize("weight", weights()[1:], ids=lambda w: flatten(w)[1])
def test_compiles_whole_with_any_rank_and_scale(weight: Any) -> None:
    torch._dynamo.reset()

    def merged(A: Tensor, B: Tensor, scale: float) -> Tensor:
        return dequantise(weight, A, B, scale, dtype=torch.float16) * 2

    compiled = torch.compile(merged, backend="aot_eager", fullgraph=True, dynamic=True)
    for r in (2, 5, 9):
        A, B = random(64, r, 1), random(r, 6, 2)
        assert torch.equal(compiled(A, B, 1.0 / r), merged(A, B, 1.0 / r))


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ({"A": torch.ones(64, 2)}, ValueError, "got only A, expected A and B, or neither"),
        (
            {"A": torch.ones(64, 2), "B": torch.ones(3, 6)},
            ValueError,
            r"got A \(64, 2\), B \(3, 6\), expected A \(64, r\), B \(r, 6\) for a weight \(6, 64\)",
        ),
        ({"A": torch.ones(6, 2), "B": torch.ones(2, 64)}, ValueError, r"expected A \(64, r\), B \(r, 6\)"),
        ({"A": torch.ones(1, 64, 2), "B": torch.ones(2, 6)}, ValueError, r"got A \(1, 64, 2\)"),
        ({"A": torch.ones(64, 2).int(), "B": torch.ones(2, 6)}, TypeError, r"got A of torch.int32, expected a float"),
        (
            {"A": torch.ones(64, 2), "B": torch.ones(2, 6, device="meta")},
            ValueError,
            "got B on meta, expected cpu, where the weight is",
        ),
        ({"scale": float("inf")}, ValueError, "got scale = inf, expected a finite number"),
        ({"dtype": torch.int8}, TypeError, r"got dtype torch.int8, expected a floating point dtype"),
        ({"weight": None}, TypeError, "got no weight, expected a tensor"),
    ],
)
def test_bad_input(arguments: dict[str, Any], error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        dequantise(**({"weight": NF4Weight.from_float(random(*SHAPE))} | arguments))
