from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from torch import Tensor

from semi.alignment import Chain, FeatureSelection
from semi.errors import InputError
from semi.hypernetwork.attention import AttentionHyperNetwork, sinusoidal_positions
from semi.projector import Projector

SETTINGS: dict[str, Any] = {
    "d_in": [24, 40],
    "d_out": [40, 30],
    "d_hyper": 24,
    "rank": 3,
    "alpha": 6.0,
    "n_pairs": 8,
    "n_heads": 2,
}


def build(**changes: Any) -> AttentionHyperNetwork:
    torch.manual_seed(0)
    return AttentionHyperNetwork(**(SETTINGS | changes))


def support(n: int, d: int = 24, d_text: int = 24, seed: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(shape, generator=generator) for shape in ((n, d), (n, d_text), (1, d_text)))  # type: ignore[return-value]


def padded_and_masked(net: AttentionHyperNetwork, samples: Tensor, texts: Tensor, instruction: Tensor) -> Tensor:
    """The paper's way: the full context with masked padding, every token a query. (prefixes, d_hyper)."""
    context, width = 2 * net.n_pairs + 3, net.d_hyper
    tokens = [*net.prefixes, instruction[0]]
    for sample, text in zip(samples, texts, strict=True):
        tokens += [torch.cat([sample, torch.zeros(width - len(sample))]), text]
    length = len(tokens)
    tokens += [torch.full((width,), 9.0)] * (context - length)
    x = torch.stack(tokens) + sinusoidal_positions(context, width)
    outputs = []
    for head in torch.arange(width).chunk(net.n_heads):
        scores = net.query(x)[:, head] @ net.key(x)[:, head].T / width**0.5
        scores[:, length:] = -torch.inf
        outputs.append(scores.softmax(dim=-1) @ net.value(x)[:, head])
    return torch.cat(outputs, dim=1)[:2]


@pytest.mark.parametrize("n_heads", [1, 2, 4])
@pytest.mark.parametrize("n", [1, 5, 8])
@pytest.mark.parametrize("d", [24, 16])
def test_leaving_the_padding_out_equals_masking_it(n_heads: int, n: int, d: int) -> None:
    net = build(n_heads=n_heads)
    samples, texts, instruction = support(n, d)
    adapter = net(samples, texts, instruction)
    for layer, output in enumerate(padded_and_masked(net, samples, texts, instruction)):
        flat = net.generators[layer](output) * 2.0  # alpha / rank
        a, b = SETTINGS["d_in"][layer] * 3, 3 * SETTINGS["d_out"][layer]
        rows = d if layer == 0 else 40
        torch.testing.assert_close(adapter.A[layer], flat[: rows * 3].reshape(rows, 3), rtol=0, atol=1e-5)
        torch.testing.assert_close(adapter.B[layer], flat[a : a + b].reshape(3, -1), rtol=0, atol=1e-5)
        torch.testing.assert_close(adapter.bias[layer], flat[a + b :], rtol=0, atol=1e-5)


@pytest.mark.parametrize("init", ["xavier", "near_zero"])
def test_every_generated_parameter_and_every_weight_gets_gradient(init: str) -> None:
    net, projector = build(generator_init=init), Projector(24, 40, 30)
    adapter = net(*support(6))
    for tensor in adapter.tensors().values():
        tensor.retain_grad()
    projector(torch.randn(50, 24, generator=torch.Generator().manual_seed(2)), adapter).square().sum().backward()
    for name, tensor in adapter.tensors().items():
        assert tensor.grad is not None, name
        assert (tensor.grad != 0).all(), name
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_merged_and_unmerged_agree() -> None:
    net, projector = build(), Projector(24, 40, 30)
    x = torch.randn(5, 24, generator=torch.Generator().manual_seed(3))
    adapter = net(*support(6))
    torch.testing.assert_close(projector.merge(adapter)(x), projector(x, adapter), rtol=1e-5, atol=1e-5)


def test_near_zero_starts_close_to_the_bare_projector() -> None:
    x = torch.randn(5, 24, generator=torch.Generator().manual_seed(3))
    torch.manual_seed(0)
    projector = Projector(24, 40, 30)
    moved = {
        init: (projector(x, build(generator_init=init)(*support(6))) - projector(x)).norm()
        for init in ("xavier", "near_zero")
    }
    assert 0 < moved["near_zero"] < 0.05 * moved["xavier"]


def test_the_pairing_is_read() -> None:
    net = build()
    samples, texts, instruction = support(6)
    assert not torch.allclose(net(samples, texts, instruction).A[0], net(samples, texts.flip(0), instruction).A[0])


def test_settings_rebuild_it() -> None:
    net = build()
    twin = AttentionHyperNetwork(**json.loads(json.dumps(net.settings)))
    twin.load_state_dict(net.state_dict())
    assert "positions" not in net.state_dict()
    for name, tensor in net(*support(6)).tensors().items():
        assert torch.equal(tensor, twin(*support(6)).tensors()[name])


@pytest.mark.parametrize("n", [9, 20])
def test_a_support_set_beyond_the_context_is_refused_with_both_numbers(n: int) -> None:
    with pytest.raises(InputError, match="larger than") as refused:
        build()(*support(n))
    assert f"{n} pairs" in str(refused.value)
    assert "at most 8 pairs" in str(refused.value)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        (support(0), r"\(0, 24\)"),
        (support(5, d=25), r"\(5, 25\)"),
        (support(5, d_text=23), "caption embeddings"),
        ((*support(5)[:2], torch.randn(2, 24)), "instruction embedding"),
        ((support(5)[0], support(4)[1], support(5)[2]), "caption embeddings"),
    ],
    ids=["no_pairs", "wide_samples", "narrow_texts", "two_instructions", "fewer_texts"],
)
def test_shapes_that_do_not_fit_are_refused(tensors: tuple[Tensor, Tensor, Tensor], message: str) -> None:
    with pytest.raises(InputError, match=message):
        build()(*tensors)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_heads": 5}, "n_heads = 5"),
        ({"n_heads": 0}, "n_heads = 0"),
        ({"rank": 0}, "rank = 0"),
        ({"d_out": [40]}, r"d_out = \[40\]"),
        ({"d_in": [], "d_out": []}, r"d_in = \[\]"),
        ({"generator_init": "zero"}, "'zero'"),
    ],
    ids=str,
)
def test_settings_that_contradict_each_other_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        build(**changes)


@pytest.mark.parametrize("d", [24, 16])
def test_embeddings_enter_centred_and_as_long_as_texts_whatever_their_scale(d: int) -> None:
    samples, texts, instruction = support(6, d)
    alignment = build().align(50 * samples + 3, texts)
    aligned = alignment(50 * samples + 3)
    torch.testing.assert_close(aligned.square().sum(1).mean(), torch.tensor(1.0))
    torch.testing.assert_close(aligned, build().align(samples, texts)(samples), rtol=1e-4, atol=1e-5)
    assert build()(alignment(samples), texts, instruction).A[0].shape == (d, 3)


def test_wider_embeddings_are_cut_to_their_best_columns() -> None:
    samples, texts, instruction = support(6, 60)
    alignment = build().align(samples, texts)
    assert isinstance(alignment, Chain)
    assert isinstance(alignment.parts[0], FeatureSelection)
    assert build()(alignment(samples), texts, instruction).A[0].shape == (24, 3)


@pytest.mark.parametrize("width", [1, 7, 24])
def test_positions_are_sine_and_cosine_by_turns(width: int) -> None:
    table = sinusoidal_positions(5, width).double() * width**0.5
    for p in range(5):
        for i in range(width):
            angle = torch.tensor(p / 10000.0 ** (2 * (i // 2) / width), dtype=torch.float64)
            expected = angle.cos() if i % 2 else angle.sin()
            torch.testing.assert_close(table[p, i], expected, rtol=0, atol=1e-6)
