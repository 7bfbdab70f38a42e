from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from semi.errors import InputError
from semi.retrieval import Retrieval
from semi_kernels.isometry import Haar


def task(k: int, seed: int = 0, *, nuisance: float = 0.0, per_class: int = 4) -> tuple[Tensor, Tensor, Tensor]:
    """Samples (k, 40) of classes with caption embeddings (k, 16), and the classes (k,).

    `nuisance` is how loud ten directions are that say nothing about the class.
    """
    g = torch.Generator().manual_seed(seed)
    owner = torch.arange(k) // per_class
    classes = torch.nn.functional.normalize(torch.randn(int(owner[-1]) + 1, 16, generator=g), dim=1)
    useful = classes @ torch.randn(16, 30, generator=g) / 4
    x = torch.cat([useful[owner], nuisance * torch.randn(k, 10, generator=g)], dim=1)
    return x + 0.01 * torch.randn(x.shape, generator=g), classes[owner], owner


def test_it_looks_past_what_says_nothing_about_the_caption() -> None:
    x, texts, owner = task(64, nuisance=1.0)
    fit, new = slice(None, None, 2), slice(1, None, 2)  # two of each class to fit, two new ones
    found = Retrieval.fit(x[fit], texts[fit]).nearest(x[new], 2)
    same = (owner[fit][found] == owner[new][:, None]).float().mean()
    plain = torch.cdist(x[new], x[fit]).argsort(dim=1)[:, :2]
    assert float(same) > (owner[fit][plain] == owner[new][:, None]).float().mean() + 0.2


@given(k=st.integers(3, 20), n=st.integers(1, 30), seed=st.integers(0, 2**31))
@settings(max_examples=25)
def test_neighbours_are_different_pairs_and_others_never_the_pair_itself(k: int, n: int, seed: int) -> None:
    x, texts, _ = task(k, seed)
    retrieval = Retrieval.fit(x, texts)
    found, others = retrieval.nearest(x, n), retrieval.others(n)
    assert found.shape == (k, min(n, k))
    assert others.shape == (k, min(n, k - 1))
    assert all(len(set(row)) == len(row) for row in [*found.tolist(), *others.tolist()])
    assert not (others == torch.arange(k)[:, None]).any()


@given(seed=st.integers(0, 2**31))
@settings(max_examples=10)
def test_an_isometry_of_the_encoder_changes_no_neighbour(seed: int) -> None:
    x, texts, _ = task(24, seed)
    moved = Haar.sample(40, generator=torch.Generator().manual_seed(seed)).apply(x.double()) + 3
    plain = Retrieval.fit(x.double(), texts)
    turned = Retrieval.fit(moved, texts)
    torch.testing.assert_close(plain.keys @ plain.keys.T, turned.keys @ turned.keys.T, rtol=1e-4, atol=1e-5)


def test_a_pair_is_left_out_of_what_finds_its_neighbours() -> None:
    """A caption of its own on one sample must not pull that sample to itself or away from its likes."""
    x, texts, owner = task(32)
    texts = texts.clone()
    texts[5] = -texts[5]
    assert set(owner[Retrieval.fit(x, texts).others(3)[5]].tolist()) == {int(owner[5])}


def test_one_that_was_loaded_has_no_pairs_to_leave_out() -> None:
    x, texts, _ = task(8)
    loaded = Retrieval(**Retrieval.fit(x, texts).tensors())
    assert loaded.nearest(x, 2).shape == (8, 2)
    with pytest.raises(InputError, match="was loaded"):
        loaded.others(2)
