from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from semi.adapters import ProjectorAdapter
from semi.errors import InputError
from semi.hypernetwork import AttentionHyperNetwork, HyperNetwork, RidgeHyperNetwork
from semi.projector import Projector


def adapter(rank: int, base: list[bool] | None = None) -> ProjectorAdapter:
    shapes = [(6, 8), (8, 5)]
    return ProjectorAdapter(
        [torch.randn(i, rank) for i, _ in shapes],
        [torch.randn(rank, o) for _, o in shapes],
        [torch.randn(o) for _, o in shapes],
        base or [True, True],
    )


def updates(a: ProjectorAdapter) -> list[Tensor]:
    return [A @ B for A, B in zip(a.A, a.B, strict=True)]


@given(n=st.integers(1, 5), rank=st.integers(0, 4), seed=st.integers(0, 2**31))
@settings(max_examples=40)
def test_the_mean_of_factors_averages_a_b_and_bias(n: int, rank: int, seed: int) -> None:
    torch.manual_seed(seed)
    adapters = [adapter(rank) for _ in range(n)]
    mean = ProjectorAdapter.mean(adapters)
    for name, tensor in mean.tensors().items():
        torch.testing.assert_close(tensor, sum(a.tensors()[name] for a in adapters) / n)


@given(ranks=st.lists(st.integers(0, 4), min_size=1, max_size=5), seed=st.integers(0, 2**31))
@settings(max_examples=40)
def test_the_mean_of_products_averages_the_updates(ranks: list[int], seed: int) -> None:
    torch.manual_seed(seed)
    adapters = [adapter(rank) for rank in ranks]
    mean = ProjectorAdapter.mean(adapters, of="products")
    for layer, update in enumerate(updates(mean)):
        expected = sum(updates(a)[layer] for a in adapters) / len(adapters)
        torch.testing.assert_close(update, expected, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(mean.bias[layer], sum(a.bias[layer] for a in adapters) / len(adapters))
    assert mean.A[0].shape[-1] == sum(ranks)


def test_the_two_means_differ() -> None:
    torch.manual_seed(0)
    pair = [adapter(2), adapter(2)]
    factors, products = (updates(ProjectorAdapter.mean(pair, of=of))[0] for of in ("factors", "products"))
    assert not torch.allclose(factors, products, atol=0.1)


def test_adapters_that_do_not_belong_together_are_refused() -> None:
    mixed = [adapter(2), adapter(2, [False, True])]
    for combine in (ProjectorAdapter.mean, ProjectorAdapter.stack):
        with pytest.raises(InputError, match="base path"):
            combine(mixed)
        with pytest.raises(InputError, match="no adapters"):
            combine([])
    with pytest.raises(InputError, match="different ranks"):
        ProjectorAdapter.mean([adapter(2), adapter(3)])


def build(kind: str, projector: Projector) -> HyperNetwork:
    if kind == "ridge":
        return RidgeHyperNetwork(projector, d_correction=8)
    return AttentionHyperNetwork([16, 12], [12, 20], d_hyper=16, rank=3, alpha=3.0, n_pairs=8)


@pytest.mark.parametrize("kind", ["attention", "ridge"])
def test_every_generated_parameter_gets_gradient_through_the_unmerged_forward(kind: str) -> None:
    """In the authors' training forward the second layer and its adapter never ran."""
    torch.manual_seed(1)
    projector = Projector(16, 12, 10, soft_tokens=2)
    network = build(kind, projector)
    samples, texts, instruction = torch.randn(8, 16), torch.randn(8, 16), torch.randn(1, 16)
    alignment = network.align(samples, texts)
    written = network(alignment(samples), texts, instruction)
    for tensor in written.tensors().values():
        if tensor.requires_grad:
            tensor.retain_grad()
        else:  # the closed-form factor of ridge does not depend on learned weights
            tensor.requires_grad_()
    projector(alignment(torch.randn(5, 16)), written).square().sum().backward()
    for name, tensor in written.tensors().items():
        assert tensor.grad is not None, name
        assert tensor.numel() == 0 or bool((tensor.grad != 0).any(dim=0).any()), name


@pytest.mark.parametrize("kind", ["attention", "ridge"])
def test_every_weight_of_the_hypernetwork_learns(kind: str) -> None:
    torch.manual_seed(1)
    projector = Projector(16, 12, 10, soft_tokens=2).requires_grad_(False)
    network = build(kind, projector)
    samples, texts, instruction = torch.randn(8, 16), torch.randn(8, 16), torch.randn(1, 16)
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-3)
    for _ in range(2):  # the first layers of zero-initialised corrections move from the second step on
        optimizer.zero_grad()
        alignment = network.align(samples, texts)
        written = network(alignment(samples), texts, instruction)
        projector(alignment(samples), written).square().sum().backward()
        optimizer.step()
    still = {name for name, p in network.named_parameters() if p.grad is None or not bool(p.grad.any())}
    assert still <= {"key.bias"}  # it shifts all scores alike, so its gradient is zero but for rounding
