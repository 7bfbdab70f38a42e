from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from semi.merge.layers import DenseLayer, MaskedLayer, WeightCache, make_layer, merged_layers
from semi.merge.steps import Step, Weights, steps
from semi.quantised import QuantisedLinear
from semi_kernels import NF4Weight
from tests.merge.deltas import deltas

N, ROWS, COLUMNS = 2, 6, 8


def merged(rows: int = ROWS, columns: int = COLUMNS) -> dict[int, Step]:
    masks = torch.rand(N, rows, columns, generator=torch.Generator().manual_seed(1)) > 0.4
    return steps(deltas(rows, columns), masks, 1 + deltas(N, rows).abs(), N, "mean")


def make(value: float) -> Callable[[], Tensor]:
    return lambda: torch.full((25,), float(value))  # 100 bytes


def kept(cache: WeightCache, modality: int, key: str) -> bool:
    made = []
    cache.get(modality, key, lambda: made.append(1) or torch.zeros(25))  # type: ignore[func-returns-value]
    return not made


def test_a_weight_is_made_once() -> None:
    cache = WeightCache(1000)
    assert cache.get(0, "a", make(1)) is cache.get(0, "a", make(2))
    assert cache.nbytes == 100


def test_modalities_out_of_use_make_room_the_least_recent_first() -> None:
    cache = WeightCache(300)
    for modality in (0, 1, 2, 0):
        cache.use([modality])
        cache.get(modality, "a", make(modality))
    cache.use([3])
    cache.get(3, "a", make(3))
    assert cache.nbytes == 300
    cache.limit = 0  # from here on nothing new is kept
    cache.use([0, 2, 3])
    assert [kept(cache, modality, "a") for modality in (0, 2, 3)] == [True, True, True]
    assert not kept(cache, 1, "a")


def test_what_is_in_use_is_not_replaced_in_turn() -> None:
    cache = WeightCache(200)
    cache.use([0, 1])
    for _ in range(2):
        for key in ("a", "b"):
            for modality in (0, 1):
                cache.get(modality, key, make(modality))
    assert cache.nbytes == 200
    assert [kept(cache, modality, "a") for modality in (0, 1)] == [True, True]
    assert [kept(cache, modality, "b") for modality in (0, 1)] == [False, False]


def test_linear_norm_and_embedding() -> None:
    torch.manual_seed(0)
    linear, norm, embedding = nn.Linear(COLUMNS, ROWS), nn.LayerNorm(COLUMNS), nn.Embedding(ROWS, COLUMNS)
    found, own, rows = merged(), deltas(COLUMNS, seed=5), deltas(2, COLUMNS, seed=6)
    x, cache = deltas(4, COLUMNS, seed=2), WeightCache(1 << 20)

    bias = Weights(own={1: deltas(ROWS, seed=3)})
    layer = DenseLayer(linear, {"weight": Weights(found), "bias": bias}, cache, "linear")
    expected = nn.functional.linear(x, linear.weight + found[1].delta(), bias.own[1])
    torch.testing.assert_close(layer(x, 1), expected)
    torch.testing.assert_close(layer(x, 7), linear(x))

    torch.testing.assert_close(
        DenseLayer(norm, {"weight": Weights(own={0: own})}, cache, "norm")(x, 0), norm(x) * own, rtol=1e-6, atol=1e-6
    )
    table = DenseLayer(embedding, {"weight": Weights(rows={0: rows})}, cache, "embedding")
    assert torch.equal(table(torch.tensor([1, ROWS + 1]), 0), torch.stack([embedding.weight[1], rows[1]]))
    assert cache.nbytes == (ROWS * COLUMNS + (ROWS + 2) * COLUMNS) * 4  # exact tensors are in memory already


@pytest.mark.parametrize("columns", [64, 60], ids=["whole blocks", "blocks across rows"])
def test_a_4_bit_layer_is_the_dense_one_on_what_its_base_decodes_to(columns: int) -> None:
    weight, bias = NF4Weight.from_float(deltas(ROWS, columns, seed=8)), deltas(ROWS, seed=9)
    quantised = QuantisedLinear(weight, bias)
    dense = nn.Linear(columns, ROWS)
    dense.load_state_dict({"weight": weight.dequantize(), "bias": bias})
    weights = {"weight": Weights(merged(ROWS, columns)), "bias": Weights(own={0: deltas(ROWS, seed=3)})}
    fused = make_layer(quantised, weights, WeightCache(0), "fused")
    assert isinstance(fused, MaskedLayer)
    x = deltas(2, 3, columns, seed=4)
    for modality in (-1, 0, 1, 7):
        expected = DenseLayer(dense, weights, WeightCache(0), "dense")(x, modality)
        torch.testing.assert_close(fused(x, modality), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_residual_beside_4_bits(dtype: torch.dtype) -> None:
    weight = NF4Weight.from_float(deltas(ROWS, 64, seed=8))
    dense = nn.Linear(64, ROWS, bias=False)
    dense.load_state_dict({"weight": weight.dequantize()})
    residual = deltas(ROWS, 64, seed=3, kind="sparse")
    step = replace(merged(ROWS, 64)[0], residual=residual.to_sparse())
    fused = make_layer(QuantisedLinear(weight, None), {"weight": Weights({0: step})}, WeightCache(0), "fused")
    x = deltas(2, 3, 64, seed=4).to(dtype).requires_grad_()
    expected = nn.functional.linear(x.float(), dense.weight + step.delta())
    found = fused(x, 0)
    assert found.dtype == dtype
    torch.testing.assert_close(found.float(), expected, rtol=0, atol=1e-4 if dtype == torch.float32 else 0.3)
    [gradient] = torch.autograd.grad(found.float().sum(), x)
    torch.testing.assert_close(gradient.float(), torch.autograd.grad(expected.sum(), x)[0].float(), rtol=0.02, atol=0.1)


def test_layers_by_their_stored_names() -> None:
    model = nn.Module()
    model.embed = nn.Embedding(ROWS, COLUMNS)
    model.head = nn.Linear(COLUMNS, ROWS, bias=False)
    model.head.weight = model.embed.weight
    model.quantised = QuantisedLinear(NF4Weight.from_float(deltas(ROWS, 64)), deltas(ROWS))
    model.other = nn.Linear(2, 2)
    known = {"embed.weight", "quantised.weight", "quantised.bias"}
    assert {name: keys for name, _, keys in merged_layers(model, known)} == {
        "embed": {"weight": "embed.weight"},
        "head": {"weight": "embed.weight"},
        "quantised": {"weight": "quantised.weight", "bias": "quantised.bias"},
    }
    both = {name: keys["weight"] for name, _, keys in merged_layers(model, {*known, "head.weight"})}
    assert (both["embed"], both["head"]) == ("embed.weight", "head.weight")
