from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from semi.memory import Memory
from semi_kernels.isometry import Haar


def grid() -> Memory:
    """Four samples, 2 apart."""
    return Memory(torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0], [2.0, 2.0]]), ["a", "b", "b", "c"])


def test_nearest_labels_are_distinct_and_in_units_of_the_usual_spacing() -> None:
    found = grid().nearest(torch.tensor([0.0, 1.0]), n=2)
    assert [(n.label, n.distance) for n in found] == [("a", 0.5), ("b", 0.5)]
    assert [n.label for n in grid().nearest(torch.zeros(2), n=9)] == ["a", "b", "c"]


def test_far_away_is_unlike_anything_seen_and_in_between_is_not() -> None:
    memory = grid()
    assert not memory.unlike(torch.tensor([1.0, 1.0]))
    assert not memory.unlike(torch.tensor([4.0, 2.0]))
    assert memory.unlike(torch.tensor([5.5, 2.0]))


def test_copies_of_the_support_change_nothing() -> None:
    once = grid()
    twice = Memory(once.embeddings.repeat(2, 1), once.labels * 2)
    for x in torch.tensor([[1.0, 1.0], [4.0, 2.0], [5.5, 2.0]]):
        assert twice.unlike(x) == once.unlike(x)
        assert twice.nearest(x) == once.nearest(x)
    assert not Memory(torch.ones(3, 2), ["a"] * 3).unlike(torch.ones(2))


@given(seed=st.integers(0, 2**31), scale=st.floats(0.01, 100), far=st.floats(0, 5))
@settings(max_examples=40)
def test_isometries_and_the_encoder_s_scale_change_nothing(seed: int, scale: float, far: float) -> None:
    g = torch.Generator().manual_seed(seed)
    x, query = torch.randn(8, 5, generator=g), far * torch.randn(5, generator=g)
    turn = Haar.sample(5, generator=g)
    plain = Memory(x, list("abcdefgh"))
    turned = Memory(scale * turn.apply(x), list("abcdefgh"))
    a, b = plain.distances(query), turned.distances(scale * turn.apply(query))
    torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3)


def test_equal_samples_and_a_single_one_do_not_divide_by_zero() -> None:
    equal = Memory(torch.ones(3, 2), ["a", "a", "b"])
    assert not equal.unlike(torch.ones(2))
    assert equal.unlike(torch.zeros(2))
    assert equal.nearest(torch.ones(2))[0].distance == 0
    single = Memory(torch.ones(1, 2), ["a"])
    assert not single.unlike(torch.zeros(2))
    assert single.nearest(torch.ones(2))[0].label == "a"
