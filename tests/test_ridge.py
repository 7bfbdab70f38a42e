from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from semi.ridge import LAMBDAS, Ridge

NormalEquations = Callable[[Tensor, Tensor, float, Tensor], Tensor]


def task(k: int, d: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Samples (k, d) that are a noisy map of caption embeddings (k, 16)."""
    g = torch.Generator().manual_seed(seed)
    texts = torch.nn.functional.normalize(torch.randn(k, 16, generator=g), dim=1)
    return texts @ torch.randn(16, d, generator=g) + 0.1 * torch.randn(k, d, generator=g), texts


@given(k=st.integers(3, 12), d=st.integers(1, 30), seed=st.integers(0, 2**31))
@settings(max_examples=25)
def test_leaving_one_out_is_leaving_one_out(with_intercept: NormalEquations, k: int, d: int, seed: int) -> None:
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
@settings(max_examples=25)
def test_predictions_are_those_of_the_normal_equations(
    with_intercept: NormalEquations, k: int, d: int, seed: int
) -> None:
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
