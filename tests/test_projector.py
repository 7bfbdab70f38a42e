from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

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
@settings(max_examples=120, deadline=None)
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
@settings(max_examples=30, deadline=None)
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
@settings(max_examples=60, deadline=None)
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
