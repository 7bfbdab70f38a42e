from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from semi.ridge import LAMBDAS, Ridge


def task(k: int, d: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Samples (k, d) that are a noisy map of caption embeddings (k, 16)."""
    g = torch.Generator().manual_seed(seed)
    texts = torch.nn.functional.normalize(torch.randn(k, 16, generator=g), dim=1)
    return texts @ torch.randn(16, d, generator=g) + 0.1 * torch.randn(k, d, generator=g), texts


def with_intercept(x: Tensor, t: Tensor, penalty: float, query: Tensor) -> Tensor:
    """Ridge regression with an unpenalised intercept by its normal equations in float64."""
    X = torch.cat([x.double(), torch.ones(len(x), 1, dtype=torch.float64)], dim=1)
    ridge = penalty * torch.eye(X.shape[1], dtype=torch.float64)
    ridge[-1, -1] = 0
    weights = torch.linalg.solve(X.T @ X + ridge, X.T @ t.double())
    predicted: Tensor = torch.cat([query.double(), torch.ones(len(query), 1, dtype=torch.float64)], dim=1) @ weights
    return predicted


@given(k=st.integers(3, 12), d=st.integers(1, 30), seed=st.integers(0, 2**31))
@settings(max_examples=25, deadline=None)
def test_leaving_one_out_is_leaving_one_out(k: int, d: int, seed: int) -> None:
    x, texts = task(k, d, seed)
    ridge = Ridge.fit(x, texts)
    scale = float(ridge.centred.square().sum(1).mean())

    def brute(penalty: float, of: Tensor = x) -> Tensor:
        left = ~torch.eye(k, dtype=torch.bool)
        return torch.cat([with_intercept(x[m], texts[m], penalty, of[~m]) for m in left])

    errors = [float((brute(p) - texts).square().sum(1).mean()) for p in (LAMBDAS * scale).tolist()]
    assert ridge.error == pytest.approx(min(errors), rel=1e-4)
    assert errors[int((LAMBDAS * scale - ridge.penalty).abs().argmin())] == pytest.approx(min(errors), rel=1e-4)
    torch.testing.assert_close(ridge.predict_unseen(x), brute(ridge.penalty), rtol=1e-4, atol=1e-5)
    pieces = torch.stack([x, x + 1, 2 * x], dim=1)  # (k, 3, d): other samples that belong to the same pair
    expected = torch.stack([brute(ridge.penalty, pieces[:, i]) for i in range(3)], dim=1)
    torch.testing.assert_close(ridge.predict_unseen(pieces), expected, rtol=1e-4, atol=1e-4)


@given(k=st.integers(3, 12), d=st.integers(1, 30), seed=st.integers(0, 2**31))
@settings(max_examples=25, deadline=None)
def test_predictions_are_those_of_the_normal_equations(k: int, d: int, seed: int) -> None:
    x, texts = task(k, d, seed)
    ridge = Ridge.fit(x, texts)
    query = torch.randn(5, d, generator=torch.Generator().manual_seed(seed))
    expected = with_intercept(x, texts, ridge.penalty, query)
    torch.testing.assert_close(ridge.predict(query), expected, rtol=1e-4, atol=1e-5)


def test_two_pairs_leave_nothing_to_leave_out() -> None:
    x, texts = task(2, 5)
    ridge = Ridge.fit(x, texts)
    assert ridge.error == float("inf")
    torch.testing.assert_close(ridge.predict_unseen(x).mean(0), texts.double().mean(0))


def test_everything_is_float64() -> None:
    x, texts = task(9, 4)
    ridge = Ridge.fit(x, texts)
    assert {t.dtype for t in (ridge.mean, ridge.centred, ridge.dual, ridge.leverage, ridge.map)} == {torch.float64}
    torch.testing.assert_close(ridge.dual, ridge.dual.T)
    torch.testing.assert_close(ridge.centred.sum(0), torch.zeros(4, dtype=torch.float64))
