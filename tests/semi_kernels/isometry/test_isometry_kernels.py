"""The kernels turn rows as the float64 matrix does, and undo it, whatever the width, dtype and layout of the rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from semi_kernels.isometry import KINDS, Hadamard, Householder, Isometry, kernel, op
from tests.semi_kernels import numerics

pytest.importorskip("triton")

FUSABLE = [name for name, kind in KINDS.items() if kind.fusable]
WIDTHS = [1, 2, 3, 63, 64, 65, 768, 1536]


@pytest.fixture(autouse=True)
def kernels(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Kernels only, and what they leave unwritten is NaN."""
    monkeypatch.setenv("SEMI_KERNELS", "triton")
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(before)


@pytest.fixture
def launches(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the kernels launched, in order."""
    seen: list[str] = []

    class Counted:
        def __init__(self, name: str) -> None:
            self.name, self.kernel = name, getattr(kernel, name)

        def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., Any]:
            seen.append(self.name)
            launch: Callable[..., Any] = self.kernel[grid]
            return launch

    for name in ("_signed_permutation", "_hadamard", "_householder"):
        monkeypatch.setattr(kernel, name, Counted(name))
    return seen


def draw(kind: str, d: int, **options: Any) -> Isometry:
    if kind == "householder":
        options = {"k": min(5, d)} | options
    return KINDS[kind].sample(d, generator=torch.Generator().manual_seed(d), **options)


def rows(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def eager(isometry: Isometry, x: Tensor, undo: bool = False) -> Tensor:
    wide = x.float()
    return (isometry._undo(wide) if undo else isometry._apply(wide)).to(x.dtype)


def check(isometry: Isometry, x: Tensor) -> None:
    """Both ways, against the dense matrix in float64."""
    matrix = isometry.apply(torch.eye(isometry.d, dtype=torch.float64))
    numerics.assert_close_to_float64(isometry.apply(x), x.double() @ matrix, eager(isometry, x))
    numerics.assert_close_to_float64(isometry.undo(x), x.double() @ matrix.T, eager(isometry, x, undo=True))


@pytest.mark.parametrize("kind", FUSABLE)
@pytest.mark.parametrize("dtype", numerics.DTYPES, ids=str)
@pytest.mark.parametrize("d", WIDTHS)
def test_rows_are_turned_as_by_the_matrix_in_float64(kind: str, d: int, dtype: torch.dtype) -> None:
    check(draw(kind, d), rows(3, d, dtype=dtype))


@pytest.mark.parametrize("kind", FUSABLE)
@pytest.mark.parametrize("m", [0, 1, 17, 129])
def test_any_number_of_rows(kind: str, m: int) -> None:
    check(draw(kind, 65), rows(m, 65))


@pytest.mark.parametrize("kind", FUSABLE)
@pytest.mark.parametrize("layout", [numerics.strided, numerics.transposed, numerics.guarded], ids=lambda f: f.__name__)
@pytest.mark.parametrize("dtype", numerics.DTYPES, ids=str)
def test_rows_of_any_layout(kind: str, layout: Callable[[Tensor], Tensor], dtype: torch.dtype) -> None:
    check(draw(kind, 65), layout(rows(17, 65, dtype=dtype)))


@pytest.mark.parametrize("kind", FUSABLE)
@pytest.mark.parametrize("d", [3, 65, 100])
@pytest.mark.parametrize("undo", [False, True], ids=["apply", "undo"])
def test_nothing_is_read_past_the_end_of_an_operand(kind: str, d: int, undo: bool) -> None:
    isometry, x = draw(kind, d), rows(5, d)
    operands = tuple(numerics.guarded(t) for t in isometry._operands())
    got = op.turn(kind, numerics.guarded(x), operands, undo)
    torch.testing.assert_close(got, eager(isometry, x, undo), rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", FUSABLE)
@pytest.mark.parametrize("shape", [(100,), (4, 100), (2, 3, 100), (2, 0, 100)], ids=str)
def test_undo_is_the_inverse_for_any_leading_shape(kind: str, shape: tuple[int, ...]) -> None:
    isometry, x = draw(kind, 100), rows(*shape)
    y = isometry.apply(x)
    assert y.shape == x.shape
    torch.testing.assert_close(isometry.undo(y), x, rtol=0, atol=1e-5)


def test_a_signed_permutation_is_exact() -> None:
    for dtype in numerics.DTYPES:
        isometry, x = draw("signed_permutation", 100), rows(5, 100, dtype=dtype)
        assert torch.equal(isometry.apply(x), eager(isometry, x))
        assert torch.equal(isometry.undo(isometry.apply(x)), x)


@pytest.mark.parametrize("rounds", [1, 2, 5])
def test_any_number_of_rounds(rounds: int) -> None:
    check(draw("hadamard", 100, rounds=rounds), rows(3, 100))


@pytest.mark.parametrize("d", [2047, 4096])
def test_the_widest_rows_that_are_mixed(d: int) -> None:
    isometry, x = draw("hadamard", d), rows(2, d)
    numerics.assert_close_to_float64(isometry.apply(x), isometry.apply(x.double()), eager(isometry, x))
    numerics.assert_close_to_float64(isometry.undo(x), isometry.undo(x.double()), eager(isometry, x, undo=True))


@pytest.mark.parametrize("k", [1, 8, 16, 17, 64])
def test_any_number_of_reflections(k: int) -> None:
    check(draw("householder", 100, k=k), rows(17, 100))


@pytest.mark.parametrize("kind", FUSABLE)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64], ids=str)
def test_an_isometry_of_another_dtype_than_its_input(kind: str, dtype: torch.dtype) -> None:
    isometry, x = draw(kind, 64, dtype=dtype), rows(3, 64)
    torch.testing.assert_close(isometry.apply(x), eager(isometry, x), rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", FUSABLE)
@pytest.mark.parametrize("d", [65, 768])
def test_an_application_is_one_launch(kind: str, d: int, launches: list[str]) -> None:
    isometry, x = draw(kind, d), rows(3, d)
    isometry.apply(x)
    assert launches == [f"_{kind}"]
    isometry.undo(x)
    assert launches == [f"_{kind}"] * 2
    isometry.apply(rows(0, d))
    assert len(launches) == 2


@pytest.mark.parametrize(
    ("isometry", "dtype"),
    [
        (draw("hadamard", 5000, rounds=1), torch.float32),
        (draw("householder", 100, k=65), torch.float32),
        (draw("haar", 100), torch.float32),
        *[(draw(kind, 20), torch.float64) for kind in FUSABLE],
    ],
    ids=["too wide", "too many reflections", "no kernel", *[f"{kind} in float64" for kind in FUSABLE]],
)
def test_what_kernels_do_not_cover_is_left_to_the_reference(
    isometry: Isometry, dtype: torch.dtype, launches: list[str]
) -> None:
    x = rows(2, isometry.d, dtype=dtype)
    torch.testing.assert_close(isometry.undo(isometry.apply(x)), x, rtol=0, atol=1e-5)
    assert not launches


@pytest.mark.parametrize("kind", FUSABLE)
@pytest.mark.parametrize("choice", ["reference", "auto"])
def test_without_a_gpu_the_reference_is_used_unless_asked_otherwise(
    kind: str, choice: str, launches: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEMI_KERNELS", choice)
    isometry, x = draw(kind, 20), rows(3, 20)
    assert torch.equal(isometry.apply(x), eager(isometry, x))
    assert not launches


def test_directions_that_are_learned_get_their_gradient(launches: list[str]) -> None:
    v = rows(10, 3).requires_grad_()
    (gradient,) = torch.autograd.grad(Householder(v).apply(rows(4, 10)), v, rows(4, 10, seed=2))
    assert gradient.abs().max() > 0
    assert not launches


@pytest.mark.parametrize("kind", FUSABLE)
@pytest.mark.parametrize("dtype", numerics.DTYPES, ids=str)
@pytest.mark.parametrize("undo", [False, True], ids=["apply", "undo"])
def test_gradients_are_the_references(kind: str, dtype: torch.dtype, undo: bool) -> None:
    isometry = draw(kind, 65)
    x, upstream = rows(5, 65, dtype=dtype), rows(5, 65, dtype=dtype, seed=2)
    x, exact = x.requires_grad_(), x.double().requires_grad_()
    turn = isometry.undo if undo else isometry.apply
    (ours,) = torch.autograd.grad(turn(x), x, upstream)
    (theirs,) = torch.autograd.grad(eager(isometry, x, undo), x, upstream)
    (reference,) = torch.autograd.grad(turn(exact), exact, upstream.double())
    numerics.assert_close_to_float64(ours, reference, theirs)


@pytest.mark.parametrize("kind", FUSABLE)
def test_the_gradient_has_a_gradient(kind: str) -> None:
    isometry, x, weight = draw(kind, 12), rows(3, 12).requires_grad_(), rows(3, 12, seed=2)
    (first,) = torch.autograd.grad(isometry.apply(x).pow(3).sum(), x, create_graph=True)
    (second,) = torch.autograd.grad((first * weight).sum(), x)
    y = isometry.apply(x)
    torch.testing.assert_close(second, isometry.undo(6 * y * isometry.apply(weight)), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", FUSABLE)
def test_twenty_runs_are_equal(kind: str) -> None:
    isometry, x = draw(kind, 20), rows(17, 20).requires_grad_()

    def run() -> tuple[Tensor, Tensor]:
        y = isometry.apply(x)
        return y, torch.autograd.grad(y.square().sum(), x)[0]

    first = run()
    for _ in range(19):
        assert all(torch.equal(a, b) for a, b in zip(first, run(), strict=True))


@pytest.mark.parametrize("kind", FUSABLE)
@pytest.mark.parametrize("shape", [(3, 20), (2, 3, 20), (0, 20)], ids=str)
def test_operations_pass_pytorchs_own_checks(kind: str, shape: tuple[int, ...]) -> None:
    for dtype in numerics.DTYPES:
        x = rows(*shape, dtype=dtype).requires_grad_()
        for undo in (False, True):
            operation = getattr(torch.ops.semi_kernels, kind).default
            torch.library.opcheck(operation, (x, *draw(kind, 20)._operands(), undo))


@pytest.mark.parametrize("kind", FUSABLE)
def test_compiled_with_any_number_of_rows(kind: str) -> None:
    isometry = draw(kind, 20)

    def there_and_back(x: Tensor) -> Tensor:
        return isometry.undo(2 * isometry.apply(x)).square()

    compiled = torch.compile(there_and_back, backend="aot_eager", fullgraph=True, dynamic=True)
    for m in (3, 5, 17):
        x = rows(m, 20).requires_grad_()
        ours, theirs = compiled(x), there_and_back(x)
        assert torch.equal(ours, theirs)
        assert torch.equal(torch.autograd.grad(ours.sum(), x)[0], torch.autograd.grad(theirs.sum(), x)[0])


def test_transposed_rows_and_gradients() -> None:
    isometry = Hadamard.sample(20, generator=torch.Generator().manual_seed(0))
    x, upstream = rows(20, 5).requires_grad_(), rows(5, 20, seed=2)
    (gradient,) = torch.autograd.grad(isometry.apply(x.T), x, numerics.transposed(upstream))
    torch.testing.assert_close(gradient, eager(isometry, upstream, undo=True).T, rtol=0, atol=1e-5)
