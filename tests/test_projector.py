from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from semi import projector as module
from semi.adapters import ProjectorAdapter
from semi.errors import InputError
from semi.projector import Projector

SEEDS = st.integers(0, 2**31)


def random_adapter(projector: Projector, width: int, rank: int, base: list[bool]) -> ProjectorAdapter:
    """One whose first layer reads embeddings of `width`."""
    sizes = projector.sizes
    hidden, out = sizes["d_hidden"], sizes["soft_tokens"] * sizes["d_lm"]
    shapes = [(width, hidden), (hidden, out)]
    return ProjectorAdapter(
        A=[torch.randn(i, rank) / max(1, i) ** 0.5 for i, _ in shapes],
        B=[torch.randn(rank, o) / max(1, rank) ** 0.5 for _, o in shapes],
        bias=[torch.randn(o) for _, o in shapes],
        base=base,
    )


@given(
    sizes=st.tuples(*[st.integers(1, 20)] * 3),
    soft_tokens=st.integers(1, 3),
    rank=st.integers(0, 5),
    base=st.lists(st.booleans(), min_size=2, max_size=2),
    lead=st.lists(st.integers(1, 4), min_size=1, max_size=3),
    data=st.data(),
    seed=SEEDS,
)
@settings(max_examples=120)
def test_the_unmerged_forward_equals_the_merged_one(
    sizes: tuple[int, int, int],
    soft_tokens: int,
    rank: int,
    base: list[bool],
    lead: list[int],
    data: st.DataObject,
    seed: int,
) -> None:
    torch.manual_seed(seed)
    projector = Projector(*sizes, soft_tokens)
    # Without a base path, the first layer reads any width; with one, at most the shared weight's.
    width = data.draw(st.integers(1, sizes[0] if base[0] else 40))
    adapter = random_adapter(projector, width, rank, base)
    x = torch.randn(*lead, width)
    merged = projector.merge(adapter)
    assert merged.sizes == projector.sizes | {"d_in": width}
    torch.testing.assert_close(projector(x, adapter), merged(x), rtol=1e-5, atol=1e-5)


@given(width=st.integers(1, 12), seed=SEEDS)
@settings(max_examples=30)
def test_a_narrow_embedding_counts_as_padded_with_zeros(width: int, seed: int) -> None:
    torch.manual_seed(seed)
    projector = Projector(12, 9, 7)
    x = torch.randn(3, width)
    padded = torch.nn.functional.pad(x, (0, 12 - width))
    torch.testing.assert_close(projector(x), projector(padded))


@given(
    ranks=st.lists(st.integers(0, 4), min_size=1, max_size=4),
    base=st.lists(st.booleans(), min_size=2, max_size=2),
    tokens=st.sampled_from([(), (3,)]),
    seed=SEEDS,
)
@settings(max_examples=60)
def test_a_row_of_a_stack_equals_its_adapter_alone(
    ranks: list[int], base: list[bool], tokens: tuple[int, ...], seed: int
) -> None:
    torch.manual_seed(seed)
    projector = Projector(6, 8, 5, soft_tokens=2)
    adapters = [random_adapter(projector, 6, rank, base) for rank in ranks]
    stack = ProjectorAdapter.stack(adapters)
    rows = torch.randint(len(adapters), (7,))
    x = torch.randn(7, *tokens, 6)
    alone = torch.stack([projector(x[i], adapters[int(rows[i])]) for i in range(7)])
    torch.testing.assert_close(projector(x, stack, rows=rows), alone, rtol=1e-5, atol=1e-5)


def test_soft_tokens_come_sample_by_sample_and_token_by_token() -> None:
    torch.manual_seed(0)
    projector = Projector(6, 8, 5, soft_tokens=2)
    x = torch.randn(4, 3, 6)
    soft = projector.soft(x)
    assert soft.shape == (4, 6, 5)
    torch.testing.assert_close(soft[1, 2:4].flatten(), projector(x[1, 1]))
    assert projector.soft(x[:, 0]).shape == (4, 2, 5)


def test_merging_leaves_the_shared_projector_as_it_was() -> None:
    torch.manual_seed(0)
    projector = Projector(6, 8, 5)
    before = {name: t.clone() for name, t in projector.state_dict().items()}
    merged = projector.merge(random_adapter(projector, 6, 0, [True, True]))
    for parameter in merged.parameters():
        parameter.data.add_(1.0)
    for name, tensor in projector.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_a_projector_of_its_sizes_takes_its_weights() -> None:
    projector = Projector(6, 8, 5, soft_tokens=3)
    Projector(**projector.sizes).load_state_dict(projector.state_dict())


def test_what_does_not_fit_is_refused() -> None:
    projector = Projector(6, 8, 5)
    adapter = random_adapter(projector, 6, 2, [True, True])
    with pytest.raises(InputError, match="wider than the projector") as wide:
        projector(torch.randn(2, 7))
    assert "at most 6" in str(wide.value)
    with pytest.raises(InputError, match="layer 0"):
        projector(torch.randn(2, 5), adapter)
    stack = ProjectorAdapter.stack([adapter, adapter])
    with pytest.raises(InputError, match="rows"):
        projector(torch.randn(2, 6), stack)
    with pytest.raises(InputError, match="cannot be merged"):
        projector.merge(stack)
    with pytest.raises(InputError, match="wider than the projector"):
        projector.merge(random_adapter(projector, 9, 2, [True, True]))


def by_definition(projector: Projector, x: Tensor, adapter: ProjectorAdapter | None, rows: Tensor | None) -> Tensor:
    """base x W^T + (x A_g) B_g + b + bias_g, row by row, in plain operations."""
    for i, layer in enumerate(projector.layers):
        y = torch.nn.functional.linear(x, layer.weight[:, : x.shape[-1]]) if adapter is None or adapter.base[i] else 0
        if adapter is not None:
            A, B, bias = adapter.A[i], adapter.B[i], adapter.bias[i]
            if rows is not None:
                bias = bias[rows].reshape(len(rows), *[1] * (x.ndim - 2), -1)
                y = y + torch.einsum("n...i,nir,nro->n...o", x, A[rows], B[rows]) + bias
            else:
                y = y + (x @ A) @ B + bias
        x = y + layer.bias
        if i == 0:
            x = torch.nn.functional.gelu(x, approximate="tanh")
    return x


@pytest.fixture
def fused(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The keywords of every call of the fused operation from now on."""
    calls: list[dict[str, Any]] = []
    real = module.fused_lora

    def counting(*args: Any, **keywords: Any) -> Tensor:
        calls.append(keywords)
        return real(*args, **keywords)

    monkeypatch.setattr(module, "fused_lora", counting)
    return calls


KINDS: dict[str, tuple[int | None, list[bool], tuple[int, ...]]] = {
    "no_adapter": (None, [True, True], (5,)),
    "one_adapter": (1, [True, True], (5,)),
    "one_adapter_of_samples_of_several_tokens": (1, [True, True], (3, 2)),
    "own_first_layer": (1, [False, True], (5,)),
    "stacked": (3, [True, True], (5,)),
    "stacked_with_samples_of_several_tokens": (3, [True, True], (3, 2)),
    "stacked_own_layers": (3, [False, False], (5,)),
}


@pytest.mark.parametrize("width", [11, 7], ids=["full_width", "narrow"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("kernels", ["reference", "triton"])
def test_the_fused_layers_are_the_plain_ones_with_their_gradients(
    monkeypatch: pytest.MonkeyPatch, fused: list[dict[str, Any]], kernels: str, kind: str, width: int
) -> None:
    if kernels == "triton":
        pytest.importorskip("triton")
    monkeypatch.setenv("SEMI_KERNELS", kernels)
    torch.manual_seed(0)
    count, base, lead = KINDS[kind]
    projector = Projector(11, 9, 6, soft_tokens=2).requires_grad_(False)
    x = torch.randn(*lead, width, requires_grad=True)
    adapters = [random_adapter(projector, width, 3, base) for _ in range(count or 0)]
    adapter = None if count is None else adapters[0] if count == 1 else ProjectorAdapter.stack(adapters)
    rows = torch.tensor([2, 0, 2, 2, 0])[: len(x)] if count == 3 else None
    learning = [x] if adapter is None else [x, *(t.requires_grad_() for t in adapter.tensors().values())]

    def result(f: Callable[..., Tensor], **given: Any) -> list[Tensor]:
        y = f(x, adapter, **given)
        weights = torch.linspace(-1, 1, y.numel()).reshape(y.shape)
        return [y.detach(), *torch.autograd.grad((y * weights).sum(), learning)]

    found = result(projector, rows=rows)
    if kernels == "triton":
        assert [call["activation"] for call in fused] == ["gelu_tanh", None]
    expected = result(lambda x, adapter: by_definition(projector, x, adapter, rows))
    for got, wanted in zip(found, expected, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-6, atol=1e-6 * float(wanted.abs().max()))


@pytest.mark.parametrize("stacked", [False, True], ids=["one_adapter", "stacked"])
@pytest.mark.parametrize("kernels", ["reference", "triton"])
def test_shared_weights_that_learn_get_their_gradients(
    monkeypatch: pytest.MonkeyPatch, kernels: str, stacked: bool
) -> None:
    if kernels == "triton":
        pytest.importorskip("triton")
    monkeypatch.setenv("SEMI_KERNELS", kernels)
    torch.manual_seed(0)
    projector = Projector(11, 9, 6)
    adapter = random_adapter(projector, 11, 3, [True, True])
    adapter = ProjectorAdapter.stack([adapter, random_adapter(projector, 11, 3, [True, True])]) if stacked else adapter
    rows = torch.tensor([1, 0, 1]) if stacked else None
    x = torch.randn(3, 11)
    weights = list(projector.parameters())
    found = torch.autograd.grad(projector(x, adapter, rows=rows).square().sum(), weights)
    expected = torch.autograd.grad(by_definition(projector, x, adapter, rows).square().sum(), weights)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_learning_weights_never_meet_the_kernels(monkeypatch: pytest.MonkeyPatch, fused: list[dict[str, Any]]) -> None:
    pytest.importorskip("triton")
    monkeypatch.setenv("SEMI_KERNELS", "triton")
    projector = Projector(6, 8, 5)
    projector(torch.randn(2, 6))
    assert not fused
    with torch.no_grad():
        projector(torch.randn(2, 6))
    assert len(fused) == 2


@pytest.mark.parametrize("rows", [None, torch.tensor([0, 1, 0])], ids=["none", "too_many"])
def test_a_stack_needs_an_adapter_for_each_sample(rows: Tensor | None) -> None:
    projector = Projector(6, 8, 5)
    stack = ProjectorAdapter.stack([random_adapter(projector, 6, 2, [True, True])] * 2)
    with pytest.raises(InputError, match="rows"):
        projector(torch.randn(2, 6), stack, rows=rows)
