"""Both layers of a projector in one call, and its rows stored where a model reads them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from semi_kernels import Layer, NF4Weight, Q4Weight, projector_mlp
from semi_kernels.isometry import Householder
from tests.semi_kernels.numerics import DTYPES, assert_close_to_float64

K, HIDDEN, D, PARTS = 33, 64, 24, 3


def layers(dtype: torch.dtype, G: int = 1, r: int = 4, quantised: bool = False) -> tuple[Layer, Layer]:
    g = torch.Generator().manual_seed(0)

    def normal(*shape: int, scale: float = 1.0) -> Tensor:
        return (torch.randn(*shape, generator=g) * scale).to(dtype)

    def layer(n: int, k: int, base: bool) -> Layer:
        W = normal(n, k, scale=k**-0.5)
        A, B = normal(G, k, r, scale=k**-0.5), normal(G, r, n)
        return Layer(NF4Weight.from_float(W) if quantised else W, normal(n), A, B, normal(G, n), base)

    return layer(HIDDEN, K, base=True), layer(PARTS * D, HIDDEN, base=False)


def wide(layer: Layer, dtype: torch.dtype) -> Layer:
    weight = layer.weight if isinstance(layer.weight, Tensor) else layer.weight.dequantize(dtype)
    rest = [t if t is None else t.double() for t in (layer.bias, layer.A, layer.B, layer.adapter_bias)]
    return Layer(weight.double(), *rest, layer.base)


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: str(d).removeprefix("torch."))
@pytest.mark.parametrize(("M", "G", "quantised"), [(0, 1, False), (1, 1, False), (17, 3, True), (130, 3, False)])
def test_against_float64(M: int, G: int, quantised: bool, dtype: torch.dtype, kernels: pytest.MonkeyPatch) -> None:
    first, second = layers(dtype, G, quantised=quantised)
    x = torch.randn(M, K, generator=torch.Generator().manual_seed(1)).to(dtype)
    rows = torch.arange(M) % G if G > 1 else None
    isometry = Householder.sample(K, generator=torch.Generator().manual_seed(2), k=3)
    options: dict[str, Any] = {"rows": rows, "isometry": isometry, "scale": 0.5}
    got = projector_mlp(x, first, second, **options)
    kernels.setenv("SEMI_KERNELS", "reference")
    exact = projector_mlp(x.double(), wide(first, dtype), wide(second, dtype), **options)
    assert_close_to_float64(got, exact, projector_mlp(x, first, second, **options))


@pytest.mark.parametrize("mode", ["triton", "reference"])
@pytest.mark.parametrize("G", [1, 3])
def test_rows_are_stored_where_they_belong(mode: str, G: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEMI_KERNELS", mode)
    first, second = layers(torch.float32, G)
    M = 5
    x, rows = torch.randn(M, K), torch.arange(M) % G
    soft = projector_mlp(x, first, second, rows=rows)
    embeds = torch.full((2, 20, D), -7.0)
    positions = torch.randperm(40)[: M * PARTS].view(M, PARTS)
    returned = projector_mlp(x, first, second, rows=rows, into=embeds, positions=positions)
    assert returned is embeds
    expected = torch.full((40, D), -7.0)
    expected[positions.flatten()] = soft.view(-1, D)
    torch.testing.assert_close(embeds.view(40, D), expected, rtol=0, atol=1e-5)


def test_gradients_reach_what_is_stored(kernels: pytest.MonkeyPatch) -> None:
    first, second = layers(torch.float32)
    x = torch.randn(5, K)
    A = second.A.clone().requires_grad_()  # type: ignore[union-attr]
    learned = Layer(second.weight, second.bias, A, second.B, second.adapter_bias, second.base)
    into = projector_mlp(x, first, learned, into=torch.zeros(30, D), positions=torch.arange(15))
    (stored,) = torch.autograd.grad(into.square().sum(), A)
    (plain,) = torch.autograd.grad(projector_mlp(x, first, learned).square().sum(), A)
    torch.testing.assert_close(stored, plain)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"into": torch.zeros(30, D)}, "only one of into and positions"),
        ({"positions": torch.arange(15)}, "only one of into and positions"),
        ({"into": torch.zeros(30, D), "positions": torch.arange(14)}, r"shape \(14,\), expected \(5, 72/24"),
        ({"into": torch.zeros(14, D), "positions": torch.arange(15)}, "positions from 0 to 14, expected 0 to 13"),
        ({"into": torch.zeros(30, D + 1), "positions": torch.arange(15)}, "expected"),
        ({"into": torch.zeros(D, 30).T, "positions": torch.arange(15)}, "expected a contiguous"),
    ],
)  # fmt: skip
def test_bad_input(changed: dict[str, Any], message: str, kernels: pytest.MonkeyPatch) -> None:
    first, second = layers(torch.float32)
    with pytest.raises(ValueError, match=message):
        projector_mlp(torch.randn(5, K), first, second, **changed)


def test_q4_weights_too(kernels: pytest.MonkeyPatch) -> None:
    W = [torch.randn(64, 32), torch.randn(32, 64)]
    x = torch.randn(4, 32)
    got = projector_mlp(x, Layer(Q4Weight.from_float(W[0])), Layer(Q4Weight.from_float(W[1])))
    decoded = [Layer(Q4Weight.from_float(w).dequantize()) for w in W]
    torch.testing.assert_close(got, projector_mlp(x, *decoded), rtol=1e-5, atol=1e-4)
