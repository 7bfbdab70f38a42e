from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from semi.errors import InputError
from semi.hypernetwork import HyperNetwork, RidgeHyperNetwork, build
from semi.projector import Projector
from semi.ridge import Ridge
from semi_kernels.isometry import Haar, Hadamard, Householder, Isometry, SignedPermutation

ISOMETRIES: dict[str, type[Isometry]] = {
    "haar": Haar,
    "householder": Householder,
    "signed_permutation": SignedPermutation,
    "hadamard": Hadamard,
}


NormalEquations = Callable[[Tensor, Tensor, float, Tensor], Tensor]


def rng(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def task(k: int, d: int, d_text: int = 16, *, seed: int = 0, queries: int = 5) -> tuple[Tensor, Tensor, Tensor]:
    """Embeddings that are a noisy map of the text embeddings: support (k, d), texts (k, d_text), queries (n, d)."""
    g = rng(seed)
    texts = torch.nn.functional.normalize(torch.randn(k + queries, d_text, generator=g), dim=1)
    x = texts @ torch.randn(d_text, d, generator=g) + 0.1 * torch.randn(k + queries, d, generator=g)
    return x[:k], texts[:k], x[k:]


def network(seed: int = 0) -> tuple[Projector, RidgeHyperNetwork]:
    torch.manual_seed(seed)
    projector = Projector(16, 24, 10, soft_tokens=2)
    return projector, RidgeHyperNetwork(projector, d_correction=8)


def trained(seed: int = 0) -> tuple[Projector, RidgeHyperNetwork]:
    """One whose corrections do something, as after training."""
    projector, net = network(seed)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=rng(5)))
    return projector, net


def whole(net: HyperNetwork, projector: Projector, support: Tensor, texts: Tensor, queries: Tensor) -> Tensor:
    """Support set to the queries' soft tokens, alignment included."""
    alignment = net.align(support, texts)
    adapter = net(alignment(support), texts, torch.ones(1, 16))
    return projector.soft(alignment(queries), adapter).detach()


@pytest.mark.parametrize(("k", "d"), [(3, 2), (8, 3), (32, 40), (8, 70)])
def test_the_adapter_is_ridge_regression_with_an_intercept(k: int, d: int, with_intercept: NormalEquations) -> None:
    projector, net = network()
    x, texts, queries = task(k, d)
    penalty = Ridge.fit(x, texts).penalty
    predicted = with_intercept(x, texts, penalty, queries)  # (n, d_text) float64
    torch.testing.assert_close(
        projector(queries, net(x, texts, torch.ones(1, 16))), projector(predicted.float()), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_with_its_alignment_it_is_kernel_ridge_regression(kernel: str) -> None:
    projector, _ = network()
    net = RidgeHyperNetwork(projector, kernels=((kernel, 1.0),))
    x, texts, queries = task(12, 30)
    a, b, t = x.double(), queries.double(), texts.double()
    if kernel == "linear":
        K, Q = (a - a.mean(0)) @ (a - a.mean(0)).T, (b - a.mean(0)) @ (a - a.mean(0)).T
    else:
        width = 2 * torch.pdist(a).median() ** 2
        K, Q = torch.exp(-(torch.cdist(a, a) ** 2) / width), torch.exp(-(torch.cdist(b, a) ** 2) / width)
    centring = torch.eye(12, dtype=torch.float64) - 1 / 12
    K_c, Q_c = centring @ K @ centring, (Q - K.mean(0)) @ centring
    alignment = net.align(x, texts)
    penalty = Ridge.fit(alignment(x), texts).penalty
    dual = torch.linalg.solve(K_c + penalty * torch.eye(12, dtype=torch.float64), t - t.mean(0))
    expected = projector((t.mean(0) + Q_c @ dual).float())
    torch.testing.assert_close(
        projector(alignment(queries), net(alignment(x), texts, torch.ones(1, 16))), expected, rtol=1e-4, atol=1e-5
    )


def test_untrained_corrections_change_nothing() -> None:
    projector, net = network()
    x, texts, queries = task(10, 20)
    ridge = Ridge.fit(x, texts)
    adapter = net(x, texts, torch.ones(1, 16))
    weight = projector.get_parameter("layers.0.weight")
    torch.testing.assert_close(adapter.A[0], (ridge.centred.T @ ridge.dual).float())
    torch.testing.assert_close(adapter.B[0], (texts - texts.mean(0)) @ weight.T)
    assert not adapter.bias[1].any()
    assert adapter.base == [False, True]
    assert not torch.allclose(whole(net, projector, x, texts, queries), whole(*trained()[::-1], x, texts, queries))


@pytest.mark.parametrize("k", [2, 3, 32])
@pytest.mark.parametrize("name", ISOMETRIES)
@pytest.mark.parametrize("d", [7, 64], ids=["narrow", "wide"])
def test_it_commutes_with_every_isometry_and_translation_of_the_encoder(name: str, k: int, d: int) -> None:
    projector, net = trained()
    x, texts, queries = task(k, d)
    options: dict[str, Any] = {"k": 5} if name == "householder" else {}
    map_ = ISOMETRIES[name].sample(d, generator=rng(11), **options)
    shift = torch.randn(d, generator=rng(12))
    plain = whole(net, projector, x, texts, queries)
    moved = whole(net, projector, map_.apply(x) + shift, texts, map_.apply(queries) + shift)
    torch.testing.assert_close(moved, plain, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("k", [2, 3, 32])
def test_zeros_behind_the_embedding_change_nothing(k: int) -> None:
    projector, net = trained()
    x, texts, queries = task(k, 12)
    padded = [torch.nn.functional.pad(part, (0, 30)) for part in (x, queries)]
    torch.testing.assert_close(
        whole(net, projector, padded[0], texts, padded[1]),
        whole(net, projector, x, texts, queries),
        rtol=1e-5,
        atol=1e-5,
    )


@pytest.mark.parametrize("d", [1, 2, 15, 16, 17, 3000])
@pytest.mark.parametrize("k", [2, 3, 32])
def test_any_width_of_the_encoder_gives_a_finite_adapter(k: int, d: int) -> None:
    projector, net = trained()
    assert whole(net, projector, *task(k, d)).isfinite().all()


def test_the_pairing_is_read() -> None:
    """Captions shuffled among the samples predict the queries' text embeddings worse."""
    projector, net = network()
    g = rng(3)
    texts = torch.nn.functional.normalize(torch.randn(48, 16, generator=g), dim=1)
    x = texts @ torch.randn(16, 40, generator=g)
    right = projector.soft(texts[32:]).detach()
    errors = [
        float((whole(net, projector, x[:32], t, x[32:]) - right).square().mean())
        for t in (texts[:32], texts[:32].roll(1, 0))
    ]
    assert errors[0] < 0.5 * errors[1]


def test_equal_captions_are_answered_with_that_caption() -> None:
    projector, net = network()
    x, texts, queries = task(6, 9)
    same = texts[:1].expand(6, -1)
    torch.testing.assert_close(
        whole(net, projector, x, same, queries), projector.soft(same[:5]).detach(), rtol=1e-4, atol=1e-5
    )


def test_settings_rebuild_it_and_the_shared_weight_is_not_saved_twice() -> None:
    projector, net = trained()
    twin = build("ridge", json.loads(json.dumps(net.settings)), projector)
    twin.load_state_dict(net.state_dict())
    assert "weight" not in net.state_dict()
    x, texts, queries = task(5, 8)
    assert torch.equal(whole(net, projector, x, texts, queries), whole(twin, projector, x, texts, queries))


@pytest.mark.parametrize("rank", [1, 3, 40])
def test_an_adapter_of_lower_rank_is_the_nearest_to_the_predictions(rank: int) -> None:
    projector, _ = network()
    net = RidgeHyperNetwork(projector, rank=rank)
    x, texts, _ = task(12, 30)
    full, low = Ridge.fit(x, texts), Ridge.fit(x, texts).of_rank(rank)
    target = full.predict(x) - full.texts.mean(0)
    found = low.predict(x) - full.texts.mean(0)
    U, S, Vh = torch.linalg.svd(target, full_matrices=False)
    torch.testing.assert_close(found, (U[:, :rank] * S[:rank]) @ Vh[:rank], rtol=1e-9, atol=1e-9)  # Eckart-Young
    A, B = (getattr(net(x, texts, torch.ones(1, 16)), name)[0] for name in "AB")
    assert torch.linalg.matrix_rank((A @ B).double(), rtol=1e-5) == min(rank, 11)
    assert build("ridge", net.settings, projector).settings == net.settings


def test_whitening_evens_out_the_spread_of_features_and_keeps_equivariance() -> None:
    projector, _ = network()
    x, texts, queries = task(12, 30)
    spreads = [
        RidgeHyperNetwork(projector, kernels=(("linear", 1.0),), whiten=w).align(x, texts)(x.double()).std(0)
        for w in (0.0, 0.5, 1.0)
    ]
    ratios = [float(s.max() / s.min()) for s in spreads]
    assert ratios[1] == pytest.approx(ratios[0] ** 0.5)
    assert ratios[2] == pytest.approx(1)
    net, turn = RidgeHyperNetwork(projector, whiten=0.5), Haar.sample(30, generator=rng(3))
    torch.testing.assert_close(
        whole(net, projector, turn.apply(x), texts, turn.apply(queries)),
        whole(net, projector, x, texts, queries),
        rtol=1e-3,
        atol=1e-4,
    )


@pytest.mark.parametrize("wrong", [{"rank": 0}, {"whiten": -0.1}, {"whiten": 1.5}])
def test_impossible_rank_and_whitening_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="settings of the ridge hypernetwork"):
        build("ridge", wrong, network()[0])
