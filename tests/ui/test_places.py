"""Maps: distances that fit on two axes are kept, and adapters compare by what they write."""

from __future__ import annotations

from importlib.util import find_spec

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from semi.adapters import ProjectorAdapter
from semi.errors import InputError
from semi.ui.places import FEWEST, methods, place, place_adapters, similarity

seeds = st.integers(0, 2**20)


def adapter(seed: int, d_in: int = 6, rank: int = 2) -> ProjectorAdapter:
    g = torch.Generator().manual_seed(seed)
    sizes = ((d_in, 5), (5, 4))
    A = [torch.randn(n, rank, generator=g) for n, _ in sizes]
    B = [torch.randn(rank, m, generator=g) for _, m in sizes]
    return ProjectorAdapter(A, B, [torch.zeros(m) for _, m in sizes], [True, True])


def rotation(d: int, seed: int) -> Tensor:
    return torch.linalg.qr(torch.randn(d, d, generator=torch.Generator().manual_seed(seed)))[0]


@given(seed=seeds, n=st.integers(1, 12))
def test_points_of_a_plane_keep_their_distances(seed: int, n: int) -> None:
    flat = torch.randn(n, 2, generator=torch.Generator().manual_seed(seed))
    lifted = flat @ rotation(7, seed)[:2]
    placed = place(lifted)
    assert placed.shape == (n, 2)
    torch.testing.assert_close(torch.cdist(placed, placed), torch.cdist(flat, flat).double(), atol=1e-4, rtol=1e-4)


@given(seed=seeds, other=seeds)
def test_similarity_is_that_of_the_updates(seed: int, other: int) -> None:
    one, two = adapter(seed, rank=3), adapter(other, d_in=9)
    gram = [[(a @ b).T @ (a @ b) for a, b in zip(each.A, each.B, strict=True)] for each in (one, two)]
    dot = sum(float((g * h).sum()) for g, h in zip(*gram, strict=True))
    norms = [sum(float((g * g).sum()) for g in grams) ** 0.5 for grams in gram]
    assert similarity(one, two) == pytest.approx(dot / (norms[0] * norms[1]), rel=1e-4)
    assert similarity(one, two) == pytest.approx(similarity(two, one))
    assert similarity(one, one) == pytest.approx(1)


@given(seed=seeds, other=seeds)
def test_an_isometry_of_the_embeddings_changes_nothing(seed: int, other: int) -> None:
    one = adapter(seed)
    turned = ProjectorAdapter([rotation(6, other) @ one.A[0], one.A[1]], one.B, one.bias, one.base)
    assert similarity(one, turned) == pytest.approx(1, abs=1e-5)


def test_an_adapter_that_writes_nothing_is_like_no_other() -> None:
    one = adapter(0)
    silent = ProjectorAdapter(one.A, [torch.zeros_like(b) for b in one.B], one.bias, one.base)
    assert similarity(one, silent) == 0
    assert similarity(silent, silent) == 1


def test_adapters_that_are_alike_lie_together() -> None:
    near = adapter(0)
    nearly = ProjectorAdapter(near.A, [b * 1.01 for b in near.B], near.bias, near.base)
    placed = place_adapters([near, nearly, adapter(1)])
    gaps = torch.cdist(placed, placed)
    assert placed.shape == (3, 2)
    assert gaps[0, 1] < 1e-3 < gaps[0, 2]
    assert place_adapters([near]).tolist() == [[0, 0]]


def test_umap_is_offered_where_it_is_installed() -> None:
    assert methods()[0] == "PCA"
    assert ("UMAP" in methods()) == (find_spec("umap") is not None)
    with pytest.raises(InputError, match="more points"):
        place(torch.zeros(FEWEST - 1, 3), "UMAP")


def test_umap_keeps_groups_apart_the_same_way_each_time() -> None:
    pytest.importorskip("umap")
    g = torch.Generator().manual_seed(0)
    groups = torch.arange(24) // 12
    points = torch.randn(24, 5, generator=g) + 20 * groups[:, None]
    placed = place(points, "UMAP")
    gaps = torch.cdist(placed, placed)
    apart = groups[:, None] != groups
    assert gaps[apart].min() > gaps[~apart].max()
    assert torch.equal(place(points, "UMAP"), placed)
    assert place(points[:FEWEST], "UMAP").shape == (FEWEST, 2)
