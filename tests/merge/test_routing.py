from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from semi.errors import InputError
from semi.merge.routing import TEXT, Route


def drawn(seed: int, batch: int, tokens: int, modalities: int) -> Tensor:
    return torch.randint(TEXT, modalities, (batch, tokens), generator=torch.Generator().manual_seed(seed))


def times(x: Tensor, modality: int) -> Tensor:
    return x * (modality + 2)


@given(
    seed=st.integers(0, 99),
    batch=st.integers(1, 4),
    tokens=st.integers(1, 6),
    last=st.integers(1, 6),
    modalities=st.integers(1, 4),
)
def test_each_token_passes_once_under_its_own_modality(
    seed: int, batch: int, tokens: int, last: int, modalities: int
) -> None:
    ids = drawn(seed, batch, tokens, modalities)
    last = min(last, tokens)
    x = torch.randn(batch, last, 3, 2, generator=torch.Generator().manual_seed(seed))
    seen = []

    def layer(x: Tensor, modality: int) -> Tensor:
        seen.append((x[..., 0, 0].numel(), modality))
        return times(x, modality)

    y = Route(ids).apply(x, layer, "layer")
    assert torch.equal(y, x * (ids[:, tokens - last :, None, None] + 2))
    assert sum(count for count, _ in seen) == batch * last
    assert len({modality for _, modality in seen}) == len(seen)


def test_one_modality_is_one_call_on_the_input_as_it_is() -> None:
    x = torch.randn(2, 5)
    for route in (Route(1), Route(torch.full((7, 3), 1))):
        assert route.modalities == [1]
        assert route.apply(x, lambda given, modality: given if modality == 1 else given + 1, "layer") is x


def test_positions_without_a_batch_serve_every_row() -> None:
    ids = torch.tensor([[0, 1], [1, TEXT]])
    assert Route(ids).apply(torch.tensor([[5.0, 7.0]])[..., None], times, "layer")[..., 0].tolist() == [
        [10, 21],
        [15, 7],
    ]


def test_narrow_outputs_are_filled_up_with_minus_infinity() -> None:
    def head(x: Tensor, modality: int) -> Tensor:
        return x.new_ones(*x.shape[:-1], 2 + modality)

    y = Route(torch.tensor([[0, 1]])).apply(torch.zeros(1, 2, 4), head, "head")
    assert y.tolist() == [[[1, 1, -torch.inf], [1, 1, 1]]]


def test_gradients_reach_each_token() -> None:
    ids = torch.tensor([[0, TEXT, 1]])
    x = torch.ones(1, 3, 2, requires_grad=True)
    Route(ids).apply(x, times, "layer").sum().backward()  # type: ignore[no-untyped-call]  # torch's
    assert x.grad is not None
    assert x.grad[0, :, 0].tolist() == [2, 1, 3]


@pytest.mark.parametrize("shape", [(6, 4), (3, 3, 4), (2, 4, 4), (2,)], ids=["flat", "batch", "tokens", "vector"])
def test_other_inputs_are_refused_by_name(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="experts does not see the tokens") as caught:
        Route(torch.tensor([[0, 1, 1], [1, 0, 0]])).apply(torch.zeros(shape), times, "experts")
    assert caught.value.got == f"input of shape {shape}"
