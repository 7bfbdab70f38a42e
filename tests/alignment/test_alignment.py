"""What all alignments share: widths, dtypes, saving and restoring; PCA, zero-padding and identity themselves."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from semi.alignment import (
    KINDS,
    PCA,
    Alignment,
    Chain,
    FeatureSelection,
    Identity,
    Nystroem,
    Standardise,
    ZeroPad,
    restore_alignment,
)
from semi.errors import ArtifactError, InputError
from semi_kernels.isometry import Haar

D = 9


def embeddings(n: int, d: int = D, seed: int = 0) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


FITTED: dict[str, Callable[[], Alignment]] = {
    "identity": lambda: Identity(D),
    "zero_pad": lambda: ZeroPad(D, 12),
    "standardise": lambda: Standardise.fit(embeddings(20)),
    "feature_selection": lambda: FeatureSelection.fit(embeddings(20), 5),
    "pca": lambda: PCA.fit(embeddings(20), 4),
    "nystroem": lambda: Nystroem.fit(embeddings(20), "rbf", 0.5),
    "chain": lambda: Chain(
        [FeatureSelection.fit(embeddings(20), 5), Standardise.fit(embeddings(20, 5), unit="sample")]
    ),
}


def test_every_kind_is_tested() -> None:
    assert set(FITTED) == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(D,), (0, D), (4, D), (2, 3, D)], ids=str)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64], ids=str)
def test_the_last_axis_is_mapped_and_the_dtype_kept(kind: str, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    alignment = FITTED[kind]()
    y = alignment(torch.randn(shape).to(dtype))
    assert y.shape == (*shape[:-1], alignment.d_out)
    assert y.dtype == dtype


@pytest.mark.parametrize("kind", KINDS)
def test_rows_are_mapped_one_by_one(kind: str) -> None:
    alignment, x = FITTED[kind](), embeddings(6, seed=1)
    torch.testing.assert_close(alignment(x), torch.stack([alignment(row) for row in x]))


@pytest.mark.parametrize("kind", KINDS)
def test_another_width_is_refused_with_both_widths(kind: str) -> None:
    with pytest.raises(InputError, match=kind) as refused:
        FITTED[kind]()(embeddings(3, D + 1))
    assert f"(3, {D + 1})" in str(refused.value)
    assert f"(..., {D})" in str(refused.value)


@pytest.mark.parametrize("kind", KINDS)
def test_restored_from_json_and_tensors_it_is_the_same_bit_for_bit(kind: str) -> None:
    alignment, x = FITTED[kind](), embeddings(6, seed=1)
    settings = json.loads(json.dumps(alignment.settings()))
    tensors = {name: tensor.clone() for name, tensor in alignment.tensors().items()}
    restored = restore_alignment(settings, tensors)
    assert type(restored) is type(alignment)
    assert restored.settings() == settings
    assert torch.equal(restored(x), alignment(x))
    assert {name: tuple(t.shape) for name, t in tensors.items()} == type(alignment).shapes(settings)


def damaged(settings: dict[str, Any], tensors: dict[str, Tensor]) -> list[tuple[dict[str, Any], dict[str, Tensor]]]:
    """Every single fault of a saved alignment."""
    cases: list[tuple[dict[str, Any], dict[str, Tensor]]] = [(settings | {"kind": "magic"}, tensors)]
    cases += [({k: v for k, v in settings.items() if k != "d_in"}, tensors), (settings | {"d_in": "9"}, tensors)]
    cases.append((settings, tensors | {"extra": torch.zeros(1)}))
    for name, tensor in tensors.items():
        cases.append((settings, {k: v for k, v in tensors.items() if k != name}))
        cases.append((settings, tensors | {name: tensor[None]}))
        cases.append((settings, tensors | {name: torch.full_like(tensor, float("nan"), dtype=torch.float64)}))
    return cases


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_alignments_are_refused(kind: str) -> None:
    alignment = FITTED[kind]()
    for settings, tensors in damaged(alignment.settings(), alignment.tensors()):
        with pytest.raises(ArtifactError):
            restore_alignment(settings, tensors)


@pytest.mark.parametrize("index", [[0, 1, 2, 3, 9], [0, 1, 2, 3, -1], [0, 1, 2, 3, 3]])
def test_columns_that_do_not_exist_or_repeat_are_refused(index: list[int]) -> None:
    settings = FITTED["feature_selection"]().settings()
    with pytest.raises(ArtifactError, match="index"):
        restore_alignment(settings, {"index": torch.tensor(index)})


@pytest.mark.parametrize("change", [{"bandwidth": 0.0}, {"bandwidth": None}, {"kernel": "cosine"}], ids=str)
def test_nystroem_constants_are_checked(change: dict[str, Any]) -> None:
    alignment = FITTED["nystroem"]()
    with pytest.raises(ArtifactError, match=next(iter(change))):
        restore_alignment(alignment.settings() | change, alignment.tensors())


def test_a_chain_is_one_after_another_and_its_widths_must_meet() -> None:
    x, first = embeddings(20), FeatureSelection.fit(embeddings(20), 5)
    second = Standardise.fit(first(x))
    assert torch.equal(Chain([first, second])(x), second(first(x)))
    for parts in ([], [second, first], [first, first]):
        with pytest.raises(InputError, match="follow one another"):
            Chain(parts)


@pytest.mark.parametrize(
    "change",
    [
        {"parts": []},
        {"parts": "identity"},
        {"parts": [{"kind": "magic"}]},
        {"parts": [{"kind": "chain", "d_in": D, "d_out": D, "parts": []}]},
        {"parts": [{"kind": "identity", "d_in": D, "d_out": D}, {"kind": "identity", "d_in": 5, "d_out": 5}]},
        {"d_out": D},
    ],
    ids=str,
)
def test_parts_of_a_chain_are_checked(change: dict[str, Any]) -> None:
    chain = Chain([Identity(D), ZeroPad(D, 12)])
    with pytest.raises(ArtifactError, match="chain"):
        restore_alignment(chain.settings() | change, chain.tensors())


def test_zero_padding_keeps_the_embedding_and_adds_zeros() -> None:
    x = embeddings(3)
    assert torch.equal(ZeroPad(D, 12)(x), torch.cat([x, torch.zeros(3, 3)], dim=1))
    with pytest.raises(InputError, match="narrower"):
        ZeroPad(12, D)


def test_standardising_centres_and_keeps_the_ratios_of_distances() -> None:
    x = 7 * embeddings(20) + 3
    y = Standardise.fit(x)(x)
    torch.testing.assert_close(y.mean(dim=0), torch.zeros(D), rtol=0, atol=1e-5)
    torch.testing.assert_close(y.square().mean(), torch.tensor(1.0))
    ratios = torch.pdist(y) / torch.pdist(x)
    torch.testing.assert_close(ratios, ratios[:1].expand_as(ratios))


def test_standardised_samples_are_of_length_one_in_the_mean_square() -> None:
    x = 7 * embeddings(20) + 3
    y = Standardise.fit(x, unit="sample")(x)
    torch.testing.assert_close(y.square().sum(1).mean(), torch.tensor(1.0))


def test_pca_keeps_the_distances_of_its_samples() -> None:
    x = embeddings(6)
    torch.testing.assert_close(torch.pdist(PCA.fit(x, 5)(x)), torch.pdist(x), rtol=1e-5, atol=1e-5)


def test_pca_orders_its_axes_by_spread_and_pads_what_the_samples_do_not_span() -> None:
    x = embeddings(6)
    y = PCA.fit(x, 8)(x)
    spread = y.var(dim=0)
    assert (spread[:5].diff() <= 0).all()
    assert spread[4] > 1e-6
    assert torch.equal(y[:, 5:], torch.zeros(6, 3))


def test_pca_is_blind_to_isometries() -> None:
    x, queries = embeddings(12), embeddings(4, seed=1)
    turn = Haar.sample(D, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        PCA.fit(turn.apply(x), 5)(turn.apply(queries)), PCA.fit(x, 5)(queries), rtol=0, atol=1e-5
    )


def test_pca_of_equal_samples_is_zero_and_of_no_axes_is_refused() -> None:
    assert torch.equal(PCA.fit(torch.ones(4, D), 3)(torch.ones(2, D)), torch.zeros(2, 3))
    with pytest.raises(InputError, match="axes"):
        PCA.fit(embeddings(4), 0)
