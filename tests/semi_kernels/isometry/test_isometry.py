"""Every isometry keeps distances, undoes itself, agrees with its matrix and is drawn from its seed alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from semi_kernels.isometry import KINDS, Hadamard, Householder, Isometry

WIDTHS = [1, 2, 3, 7, 64, 100, 257]


def draw(kind: str, d: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Isometry:
    options: dict[str, Any] = {"k": min(5, d)} if kind == "householder" else {}
    return KINDS[kind].sample(d, generator=torch.Generator().manual_seed(seed), dtype=dtype, **options)


def rows(*shape: int, seed: int = 1, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=25)
@given(d=st.integers(1, 200), n=st.integers(2, 20), seed=st.integers(0, 2**31))
def test_distances_are_kept(kind: str, d: int, n: int, seed: int) -> None:
    x = rows(n, d, seed=seed)
    y = draw(kind, d, seed).apply(x)
    torch.testing.assert_close(torch.pdist(y.double()), torch.pdist(x.double()), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("d", [768, 1536])
def test_distances_are_kept_at_the_widths_of_encoders(kind: str, d: int) -> None:
    x = rows(32, d)
    y = draw(kind, d).apply(x)
    torch.testing.assert_close(torch.pdist(y.double()), torch.pdist(x.double()), rtol=1e-5, atol=0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("d", WIDTHS)
def test_matrix_is_orthogonal_and_agrees_with_apply_and_undo(kind: str, d: int) -> None:
    isometry = draw(kind, d, dtype=torch.float64)
    x, r = rows(2, 3, d, dtype=torch.float64), isometry.matrix()
    torch.testing.assert_close(r @ r.T, torch.eye(d, dtype=torch.float64), rtol=0, atol=1e-12)
    torch.testing.assert_close(isometry.apply(x), x @ r, rtol=0, atol=1e-12)
    torch.testing.assert_close(isometry.undo(x), x @ r.T, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(100,), (0, 100), (4, 100), (2, 3, 100)], ids=str)
def test_undo_is_the_inverse_for_any_leading_shape(kind: str, shape: tuple[int, ...]) -> None:
    isometry, x = draw(kind, 100), rows(*shape)
    y = isometry.apply(x)
    assert y.shape == x.shape
    torch.testing.assert_close(isometry.undo(y), x, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_strided_rows_give_the_same_as_contiguous_ones(kind: str) -> None:
    isometry, x = draw(kind, 100), rows(100, 6).T
    torch.testing.assert_close(isometry.apply(x), isometry.apply(x.contiguous()), rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_gradient_is_the_transpose(kind: str) -> None:
    isometry = draw(kind, 12, dtype=torch.float64)
    x = rows(3, 12, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(isometry.apply, x)
    assert torch.autograd.gradcheck(isometry.undo, x)
    upstream = rows(3, 12, seed=2, dtype=torch.float64)
    (gradient,) = torch.autograd.grad(isometry.apply(x), x, upstream)
    torch.testing.assert_close(gradient, isometry.undo(upstream), rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_the_seed_decides_and_the_global_generator_does_not(kind: str) -> None:
    first = draw(kind, 33, seed=5).matrix()
    torch.manual_seed(1)
    before = torch.get_rng_state()
    assert torch.equal(draw(kind, 33, seed=5).matrix(), first)
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.allclose(draw(kind, 33, seed=6).matrix(), first, atol=1e-2)


@pytest.mark.parametrize("kind", KINDS)
def test_one_generator_gives_a_new_isometry_each_time(kind: str) -> None:
    generator = torch.Generator().manual_seed(0)
    first, second = (KINDS[kind].sample(33, generator=generator).matrix() for _ in range(2))
    assert not torch.allclose(first, second, atol=1e-2)


@pytest.mark.parametrize("kind", KINDS)
def test_autocast_changes_nothing(kind: str) -> None:
    """Rounded to 16 bits, a map would not be an isometry any more."""
    isometry, x = draw(kind, 64), rows(4, 64)
    with torch.autocast("cpu", torch.bfloat16):
        y = isometry.apply(x)
        back = isometry.undo(y)
    assert torch.equal(y, isometry.apply(x))
    assert torch.equal(back, isometry.undo(y))


@pytest.mark.parametrize("kind", KINDS)
def test_shapes_are_known_without_values(kind: str) -> None:
    assert draw(kind, 64).apply(torch.empty(4, 64, dtype=torch.bfloat16, device="meta")).shape == (4, 64)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64], ids=str)
def test_apply_follows_the_dtype_of_its_input(kind: str, dtype: torch.dtype) -> None:
    x = rows(4, 64).to(dtype)
    isometry = draw(kind, 64)
    y = isometry.apply(x)
    assert y.dtype == dtype
    torch.testing.assert_close(y.float(), isometry.apply(x.float()), rtol=0, atol=0.1)


@pytest.mark.parametrize("kind", KINDS)
def test_16_bit_isometries_can_be_drawn(kind: str) -> None:
    isometry = draw(kind, 64, dtype=torch.bfloat16)
    assert isometry.matrix().dtype == torch.bfloat16
    torch.testing.assert_close(isometry.matrix().float(), draw(kind, 64).matrix(), rtol=0, atol=0.05)


@pytest.mark.parametrize("k", [1, 2, 3, 6])
def test_determinant_of_k_reflections(k: int) -> None:
    generator = torch.Generator().manual_seed(k)
    matrix = Householder.sample(9, generator=generator, k=k, dtype=torch.float64).matrix()
    assert torch.det(matrix).item() == pytest.approx((-1) ** k)


def test_compact_form_is_the_product_of_the_reflections() -> None:
    isometry = Householder.sample(10, generator=torch.Generator().manual_seed(0), k=4, dtype=torch.float64)
    product = torch.eye(10, dtype=torch.float64)
    for v in isometry.v.T:
        product = product @ (torch.eye(10, dtype=torch.float64) - 2 * torch.outer(v, v) / (v @ v))
    torch.testing.assert_close(isometry.matrix(), product, rtol=0, atol=1e-12)


def test_k_reflections_leave_the_rest_of_the_space_alone() -> None:
    isometry = Householder.sample(20, generator=torch.Generator().manual_seed(0), k=3, dtype=torch.float64)
    moved = isometry.matrix() - torch.eye(20, dtype=torch.float64)
    assert torch.linalg.matrix_rank(moved, tol=1e-9) == 3


@pytest.mark.parametrize("d", [64, 100, 384, 1000])
def test_hadamard_spreads_every_coordinate_over_all(d: int) -> None:
    """No entry of the matrix stays large: 3 rounds bring the largest to a few standard deviations 1/sqrt(d)."""
    largest = Hadamard.sample(d, generator=torch.Generator().manual_seed(0)).matrix().abs().max()
    assert largest < 8 * d**-0.5


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("haar", {"k": 3}, "no options"),
        ("signed_permutation", {"rounds": 2}, "no options"),
        ("householder", {"k": 0}, "k = 0"),
        ("householder", {"k": 11}, "k = 11"),
        ("hadamard", {"rounds": 0}, "rounds = 0"),
        ("hadamard", {"k": 3}, "only rounds"),
        ("haar", {"dtype": torch.int64}, "torch.int64"),
    ],
)
def test_bad_options_are_refused(kind: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        KINDS[kind].sample(10, generator=torch.Generator(), **options)


@pytest.mark.parametrize("kind", KINDS)
def test_bad_widths_and_dtypes_are_refused(kind: str) -> None:
    with pytest.raises(ValueError, match="d = 0"):
        KINDS[kind].sample(0, generator=torch.Generator())
    isometry = draw(kind, 10)
    for x in (rows(3, 9), torch.ones(3, 10, dtype=torch.int64), torch.tensor(1.0)):
        with pytest.raises(ValueError, match=r"\(\.\.\., 10\)"):
            isometry.apply(x)
        with pytest.raises(ValueError, match=r"\(\.\.\., 10\)"):
            isometry.undo(x)
