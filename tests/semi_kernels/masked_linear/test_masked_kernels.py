"""The kernels, interpreted, to the numerical standard: forward, and the gradient of x."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from semi_kernels.masked_linear import masked_nf4_linear
from semi_kernels.masked_linear import reference as plain
from semi_kernels.weights import flatten
from tests.semi_kernels.masked_linear.masked_layers import LAYOUTS, layer, random
from tests.semi_kernels.numerics import DTYPES, assert_close_to_float64, guarded, strided, transposed

SHAPES = {  # (N, K): whole tiles and their ends, bytes of the mask and blocks that straddle rows
    "dense": [(1, 1), (33, 100), (17, 136)],
    "nf4": [(3, 5), (19, 192)],
    "nf4_nested": [(7, 99), (33, 72), (19, 192)],
    "q4_1": [(1, 32), (19, 96)],
}
CASES = [(layout, shape) for layout in LAYOUTS for shape in SHAPES[layout]]


@pytest.fixture(autouse=True)
def _triton(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Kernels only; what they leave unwritten is NaN."""
    pytest.importorskip("triton")
    monkeypatch.setenv("SEMI_KERNELS", "triton")
    torch.use_deterministic_algorithms(True)  # fills torch.empty
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("M", [0, 1, 17, 129])
@pytest.mark.parametrize(("layout", "shape"), CASES, ids=str)
def test_forward(layout: str, shape: tuple[int, int], M: int, dtype: torch.dtype) -> None:
    given = layer(layout, *shape, dtype)
    x = guarded(random(M, shape[1], dtype=dtype, seed=5))
    assert given.bias is not None
    y = masked_nf4_linear(x, given.weight, given.tau, given.mask, bias=given.bias, scale=given.scale)
    exact = x.double() @ given.exact().T + given.bias.double()
    assert_close_to_float64(y, exact, given.eager(x))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("M", [0, 3, 129])
@pytest.mark.parametrize(("layout", "shape"), CASES, ids=str)
def test_gradient_of_x(layout: str, shape: tuple[int, int], M: int, dtype: torch.dtype) -> None:
    given = layer(layout, *shape, dtype, extras=False)
    x = random(M, shape[1], dtype=dtype, seed=5).requires_grad_()
    dy = guarded(random(M, shape[0], dtype=dtype, seed=6))
    (dx,) = torch.autograd.grad(masked_nf4_linear(x, given.weight, given.tau, given.mask), x, dy)
    (eager,) = torch.autograd.grad(given.eager(x), x, dy)
    assert_close_to_float64(dx, dy.double() @ given.exact(), eager)


@pytest.mark.parametrize("tau_dtype", DTYPES, ids=str)
def test_a_task_vector_of_another_dtype_and_any_strides(tau_dtype: torch.dtype) -> None:
    given = layer("nf4_nested", 19, 128, torch.bfloat16)
    given.tau = random(19, 128, dtype=tau_dtype, seed=1)
    x = random(5, 128, dtype=torch.bfloat16, seed=5)
    assert given.bias is not None
    exact = x.double() @ given.exact().T + given.bias.double()
    for tau in (strided(given.tau), transposed(given.tau)):
        for rows in (strided(x), transposed(x)):
            y = masked_nf4_linear(rows, given.weight, tau, given.mask, bias=given.bias, scale=given.scale)
            assert_close_to_float64(y, exact, given.eager(x))


def test_what_is_masked_out_may_be_anything() -> None:
    given = layer("q4_1", 19, 96)
    spoilt = given.tau.masked_fill(~given.kept, float("nan"))
    for M in (3, 130):
        x = random(M, 96, seed=5)
        expected = masked_nf4_linear(x, given.weight, given.tau, given.mask, scale=given.scale)
        assert torch.equal(masked_nf4_linear(x, given.weight, spoilt, given.mask, scale=given.scale), expected)


@pytest.mark.parametrize("density", ["none", "all"])
def test_an_empty_mask_gives_the_base_and_a_full_one_the_static_merge(density: str) -> None:
    given = layer("nf4", 19, 128, extras=False)
    mask = torch.full_like(given.mask, 0 if density == "none" else 255)
    W = given.decoded() + (0 if density == "none" else given.tau)
    x = random(4, 128, seed=5)
    torch.testing.assert_close(masked_nf4_linear(x, given.weight, given.tau, mask), x @ W.T)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_written_weight_is_bit_equal_to_the_reference(layout: str) -> None:
    """In float32, where products are rounded alike; the tiles have ends in both directions."""
    given = layer(layout, 70, 160)
    parts, name, N, K = flatten(given.weight)
    for dtype in DTYPES:
        arguments = (parts, name, N, K, given.tau, given.mask, given.scale, dtype)
        assert torch.equal(torch.ops.semi_kernels.masked_weight(*arguments), plain.masked_weight(*arguments))


@pytest.mark.parametrize("M", [3, 130])
def test_twenty_runs_are_equal(M: int) -> None:
    given = layer("nf4_nested", 17, 64, torch.bfloat16)

    def run() -> tuple[torch.Tensor, torch.Tensor]:
        x = random(M, 64, dtype=torch.bfloat16, seed=5).requires_grad_()
        y = masked_nf4_linear(x, given.weight, given.tau, given.mask, bias=given.bias, scale=given.scale)
        return y, torch.autograd.grad(y.sum(), x)[0]

    first = run()
    for _ in range(19):
        assert all(torch.equal(a, b) for a, b in zip(run(), first, strict=True))


def test_few_rows_are_one_launch_and_more_are_two_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    from semi_kernels.masked_linear import kernel

    launched: list[str] = []
    for name in ("_masked_linear", "_masked_weight"):
        original = getattr(kernel, name)
        monkeypatch.setattr(kernel, name, Counting(original, name, launched))
    given = layer("nf4_nested", 17, 64)
    for M, expected in ((128, ["_masked_linear"]), (129, ["_masked_weight"]), (0, [])):
        launched.clear()
        masked_nf4_linear(random(M, 64), given.weight, given.tau, given.mask, bias=given.bias, scale=given.scale)
        assert launched == expected


class Counting:
    """A kernel that writes down its launches."""

    def __init__(self, kernel: object, name: str, launched: list[str]) -> None:
        self.kernel, self.name, self.launched = kernel, name, launched

    def __getitem__(self, grid: object) -> object:
        self.launched.append(self.name)
        return self.kernel[grid]  # type: ignore[index]
