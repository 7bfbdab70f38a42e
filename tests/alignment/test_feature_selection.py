from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from semi.alignment import FeatureSelection, infinite_feature_selection
from semi.alignment.feature_selection import feature_graph, largest_eigenvalue
from semi.errors import InputError


def embeddings(n: int, d: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, generator=generator) * torch.rand(d, generator=generator)


def slow(x: Tensor, alpha: float) -> Tensor:
    """The definition, pair by pair, with scipy's correlation and an explicit inverse."""
    table = x.double().numpy()
    d = table.shape[1]
    spread, correlation = torch.zeros(d, d).double(), torch.zeros(d, d).double()
    for i in range(d):
        for j in range(d):
            a, b = table[:, i], table[:, j]
            spread[i, j] = max(a.std(ddof=1), b.std(ddof=1))
            correlation[i, j] = stats.spearmanr(a, b).statistic if a.std() and b.std() else 0.0
    spread = (spread - spread.min()) / (spread.max() - spread.min())
    graph = alpha * correlation + (1 - alpha) * spread
    identity = torch.eye(d).double()
    paths: Tensor = torch.linalg.inv(identity - 0.9 / torch.linalg.eigvals(graph).real.max() * graph) - identity
    return paths.sum(1)


@settings(max_examples=20)
@given(n=st.integers(3, 30), d=st.integers(2, 8), alpha=st.floats(0, 1), seed=st.integers(0, 999))
def test_it_is_the_definition(n: int, d: int, alpha: float, seed: int) -> None:
    x = embeddings(n, d, seed)
    ranking, score = infinite_feature_selection(x, alpha)
    torch.testing.assert_close(score, slow(x, alpha), rtol=1e-8, atol=1e-8)
    assert ranking.tolist() == score.argsort(descending=True, stable=True).tolist()
    assert ranking.dtype == torch.int64
    assert score.dtype == torch.float64


@settings(max_examples=20)
@given(n=st.integers(4, 20), d=st.integers(2, 6), seed=st.integers(0, 999))
def test_ties_share_their_mean_rank(n: int, d: int, seed: int) -> None:
    """Counts, as fingerprints have: nearly every column is full of equal numbers."""
    x = torch.randint(0, 3, (n, d), generator=torch.Generator().manual_seed(seed)).float()
    x[0], x[1] = 0.0, 1.0  # no constant column
    x *= 0.5 + torch.rand(d, generator=torch.Generator().manual_seed(seed))  # nor two of the same spread
    torch.testing.assert_close(infinite_feature_selection(x)[1], slow(x, 0.2), rtol=1e-8, atol=1e-8)


def test_constant_columns_correlate_with_nothing_and_come_last() -> None:
    x = embeddings(20, 6)
    x[:, 2] = 3.0
    ranking, score = infinite_feature_selection(x)
    torch.testing.assert_close(score, slow(x, 0.2), rtol=1e-8, atol=1e-8)
    assert ranking[-1] == 2


def test_equal_columns_score_alike() -> None:
    score = infinite_feature_selection(embeddings(20, 1).repeat(1, 4))[1]
    torch.testing.assert_close(score, score[:1].expand(4))


def test_columns_by_the_thousand_are_all_ranked() -> None:
    ranking, score = infinite_feature_selection(embeddings(128, 1536))
    assert sorted(ranking.tolist()) == list(range(1536))
    assert score.isfinite().all()


@pytest.mark.parametrize(
    ("x", "alpha", "message"),
    [
        (torch.ones(5, 3), 0.2, "cannot be ranked"),
        (torch.randn(5), 0.2, r"shape \(5,\)"),
        (torch.randn(1, 3), 0.2, r"shape \(1, 3\)"),
        (torch.tensor([[1.0, 2.0], [3.0, float("nan")]]), 0.2, "in row 1"),
        (torch.randn(5, 3), 1.5, "1.5"),
    ],
)
def test_what_cannot_be_ranked_is_refused(x: Tensor, alpha: float, message: str) -> None:
    with pytest.raises(InputError, match=message):
        infinite_feature_selection(x, alpha)


def test_the_alignment_keeps_the_best_columns_best_first() -> None:
    x = embeddings(30, 9)
    ranking, _ = infinite_feature_selection(x, 0.4)
    alignment = FeatureSelection.fit(x, 4, alpha=0.4)
    assert (alignment.d_in, alignment.d_out) == (9, 4)
    assert torch.equal(alignment(x), x[:, ranking[:4]])


@pytest.mark.parametrize("d_out", [0, 10])
def test_more_columns_than_there_are_cannot_be_kept(d_out: int) -> None:
    with pytest.raises(InputError, match="that many columns") as refused:
        FeatureSelection.fit(embeddings(30, 9), d_out)
    assert f"{d_out} of 9" in str(refused.value)


@pytest.mark.parametrize("d", [2, 9, 200])
@pytest.mark.parametrize("spread", [0.0, 1.0, 4.0])
@pytest.mark.parametrize("alpha", [0.0, 0.2, 1.0])
def test_the_largest_eigenvalue_is_that_of_the_whole_spectrum(d: int, spread: float, alpha: float) -> None:
    generator = torch.Generator().manual_seed(d)
    x = torch.randn(24, d, generator=generator) * torch.rand(d, generator=generator) ** spread
    x[:, 1] = -x[:, 0]
    graph = feature_graph(x.double(), alpha)
    torch.testing.assert_close(largest_eigenvalue(graph), torch.linalg.eigvalsh(graph)[-1], rtol=1e-12, atol=0)
