from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from semi.alignment import Nystroem
from semi.errors import InputError
from semi_kernels.isometry import KINDS as ISOMETRIES

KERNELS = ["linear", "rbf", "laplace", "tanimoto"]


def embeddings(n: int, d: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def kernel(name: str, x: Tensor, y: Tensor, b: float) -> Tensor:
    """From the formulas, pair by pair."""
    values = []
    for p in x.double():
        for q in y.double():
            r = (p - q).norm()
            values.append(
                {
                    "linear": p @ q,
                    "rbf": torch.exp(-(r**2) / (2 * b**2)),
                    "laplace": torch.exp(-r / b),
                    "tanimoto": (p @ q) / (p @ p + q @ q - p @ q),
                }[name]
            )
    return torch.stack(values).reshape(len(x), len(y))


def centred(name: str, queries: Tensor, support: Tensor, b: float) -> Tensor:
    k_xs, k_ss = kernel(name, queries, support, b), kernel(name, support, support, b)
    return k_xs - k_xs.mean(1, keepdim=True) - k_ss.mean(0) + k_ss.mean()


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize(("k", "d"), [(2, 5), (7, 3), (12, 40)])
def test_inner_products_of_features_are_the_centred_kernel(name: str, k: int, d: int) -> None:
    support, queries = embeddings(k, d, dtype=torch.float64), embeddings(5, d, seed=1, dtype=torch.float64)
    alignment = Nystroem.fit(support, name)
    phi = alignment(support)
    assert phi.shape == (k, alignment.d_out)
    assert alignment.d_out < k
    torch.testing.assert_close(phi @ phi.T, centred(name, support, support, alignment.bandwidth), rtol=0, atol=1e-8)
    torch.testing.assert_close(
        alignment(queries) @ phi.T, centred(name, queries, support, alignment.bandwidth), rtol=0, atol=1e-8
    )
    torch.testing.assert_close(phi.mean(0), torch.zeros_like(phi[0]), rtol=0, atol=1e-8)


@pytest.mark.parametrize("isometry", ISOMETRIES)
@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("d", [3, 64, 257, 1536])
def test_isometries_of_support_and_queries_change_nothing(name: str, isometry: str, d: int) -> None:
    support, queries = embeddings(16, d) / d**0.5, embeddings(5, d, seed=1) / d**0.5
    options: dict[str, Any] = {"k": min(8, d)} if isometry == "householder" else {}
    turn = ISOMETRIES[isometry].sample(d, generator=torch.Generator().manual_seed(2), **options)
    plain, turned = Nystroem.fit(support, name), Nystroem.fit(turn.apply(support), name)
    assert plain.d_out == turned.d_out
    torch.testing.assert_close(turned(turn.apply(support)), plain(support), rtol=0, atol=1e-5)
    torch.testing.assert_close(turned(turn.apply(queries)), plain(queries), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["linear", "rbf", "laplace"])
def test_translations_change_nothing(name: str) -> None:
    support, queries = embeddings(16, 30, dtype=torch.float64), embeddings(5, 30, seed=1, dtype=torch.float64)
    plain, moved = Nystroem.fit(support, name), Nystroem.fit(support + 1000, name)
    torch.testing.assert_close(moved(queries + 1000), plain(queries), rtol=0, atol=1e-8)


@pytest.mark.parametrize("name", KERNELS)
def test_zero_padding_changes_nothing(name: str) -> None:
    support, queries = embeddings(16, 30), embeddings(5, 30, seed=1)
    pad = torch.nn.ConstantPad1d((0, 7), 0.0)
    plain, padded = Nystroem.fit(support, name), Nystroem.fit(pad(support), name)
    torch.testing.assert_close(padded(pad(queries)), plain(queries), rtol=0, atol=1e-5)


@settings(max_examples=20)
@given(n=st.integers(2, 12), d=st.integers(1, 20), name=st.sampled_from(KERNELS), seed=st.integers(0, 999))
def test_repeated_samples_get_equal_features(n: int, d: int, name: str, seed: int) -> None:
    x = embeddings(n, d, seed)
    x = torch.cat([x, x[:1], x[:1]])
    alignment = Nystroem.fit(x, name)
    phi = alignment(x)
    torch.testing.assert_close(phi[0], phi[-1], rtol=0, atol=1e-6)
    assert alignment.d_out <= n - 1 or name == "tanimoto"
    assert phi.isfinite().all()


def test_the_bandwidth_counts_median_distances_between_different_samples() -> None:
    x = torch.tensor([[0.0], [0.0], [0.0], [0.0], [2.0]])
    assert Nystroem.fit(x, "rbf").bandwidth == 2.0
    assert Nystroem.fit(x, "rbf", bandwidth=0.5).bandwidth == 1.0


@pytest.mark.parametrize("name", KERNELS)
def test_it_is_differentiable_in_the_queries(name: str) -> None:
    alignment = Nystroem.fit(embeddings(6, 4, dtype=torch.float64), name)
    assert torch.autograd.gradcheck(alignment, embeddings(3, 4, seed=1, dtype=torch.float64).requires_grad_())


def test_zero_counts_are_equal_to_zero_counts_and_unlike_others() -> None:
    x = torch.tensor([[0.0, 0.0], [0.0, 0.0], [1.0, 0.0], [0.0, 3.0]])
    phi = Nystroem.fit(x, "tanimoto")(x)
    torch.testing.assert_close(phi[0], phi[1])
    assert phi.isfinite().all()
    assert (phi[0] - phi[2]).norm() > 0.5


@pytest.mark.parametrize(
    ("x", "name", "bandwidth", "message"),
    [
        (torch.ones(4, 3), "linear", None, "all the same"),
        (torch.randn(4, 3), "cosine", None, "cosine"),
        (torch.randn(4, 3), "rbf", 0.0, "0.0"),
        (torch.randn(4, 3), "rbf", float("nan"), "nan"),
        (torch.randn(1, 3), "rbf", None, r"shape \(1, 3\)"),
        (torch.tensor([[1.0], [float("inf")]]), "rbf", None, "in row 1"),
    ],
)
def test_unfit_supports_are_refused(x: Tensor, name: str, bandwidth: float | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Nystroem.fit(x, name, bandwidth)
