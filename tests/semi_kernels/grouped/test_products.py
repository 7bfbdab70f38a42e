"""Each product against float64 and beside eager PyTorch, for shapes at and around the ends of every tile."""

from __future__ import annotations

import pytest
import torch

from semi_kernels.grouped import Groups, grouped_down, grouped_outer, grouped_up, launch
from semi_kernels.grouped.policy import Tiles
from tests.semi_kernels.grouped.cases import Case, act, case, down, outer, up
from tests.semi_kernels.numerics import DTYPES, assert_close_to_float64, guarded, strided, transposed

SHAPES = [  # M, K, N, r, G
    (0, 33, 17, 7, 3),
    (1, 64, 48, 1, 1),
    (2, 33, 31, 7, 3),
    (15, 77, 51, 8, 17),
    (16, 128, 64, 24, 3),
    (17, 65, 129, 32, 1),
    (64, 96, 33, 64, 3),
    (127, 51, 47, 127, 17),
    (128, 64, 32, 128, 3),
    (129, 131, 77, 32, 3),
    (17, 40, 24, 200, 3),
]
dtypes = pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: str(dtype).removeprefix("torch."))


def check_down(c: Case, scale: float = 0.5) -> None:
    expected = down(c.x.double(), c.A.double(), c.rows, scale)
    assert_close_to_float64(grouped_down(c.x, c.A, c.groups, scale), expected, down(c.x, c.A, c.rows, scale))


def check_up(c: Case, scale: float = 0.5) -> None:
    expected = up(c.y.double(), c.S.double(), c.B.double(), c.bias.double(), c.rows, scale)
    eager = up(c.y, c.S, c.B, c.bias, c.rows, scale)
    got, pre = grouped_up(c.y, c.S, c.B, c.groups, c.bias, scale, "gelu_tanh", preactivation=True)
    assert_close_to_float64(pre, expected, eager)
    assert_close_to_float64(got, act(expected), act(eager))


def check_outer(c: Case) -> None:
    got = grouped_outer(c.x, c.S, c.groups, column_sum=True)
    expected = outer(c.x.double(), c.S.double(), c.rows, c.groups.count)
    for mine, exact, eager in zip(got, expected, outer(c.x, c.S, c.rows, c.groups.count), strict=True):
        assert_close_to_float64(mine, exact, eager)


@dtypes
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "M{} K{} N{} r{} G{}".format(*shape))
def test_every_product_is_exact(shape: tuple[int, int, int, int, int], dtype: torch.dtype) -> None:
    c = case(*shape, dtype)
    check_down(c)
    check_up(c)
    check_outer(c)


@dtypes
def test_groups_may_be_empty(dtype: torch.dtype) -> None:
    c = case(33, 20, 20, 5, 17, dtype, used=2)
    check_down(c)
    check_up(c)
    check_outer(c)
    out, sums = grouped_outer(c.x, c.S, c.groups, column_sum=True)
    assert not out[2:].any()
    assert not sums[2:].any()


def test_more_groups_than_one_search_sees() -> None:
    c = case(12, 20, 20, 5, 70, torch.float32)
    check_down(c)
    check_up(c)
    got = launch.grouped_outer(c.x, c.S, c.groups.order, c.groups.offsets, False, Tiles(16, 32, 16, 16))
    assert_close_to_float64(got[0], outer(c.x.double(), c.S.double(), c.rows, 70)[0], outer(c.x, c.S, c.rows, 70)[0])


@dtypes
@pytest.mark.parametrize("parts", [2, 8])
def test_k_summed_in_parts(parts: int, dtype: torch.dtype) -> None:
    """With 8 parts some are behind the end of K."""
    c = case(19, 165, 1, 24, 2, dtype)
    got = launch.grouped_down(c.x, c.A, c.groups.order, c.groups.offsets, 0.5, Tiles(16, 32, 16, parts))
    assert_close_to_float64(got, down(c.x.double(), c.A.double(), c.rows, 0.5), down(c.x, c.A, c.rows, 0.5))


@dtypes
@pytest.mark.parametrize("chunk", [16, 32])
def test_rows_summed_in_parts(chunk: int, dtype: torch.dtype) -> None:
    c = case(65, 45, 1, 24, 4, dtype, used=3)
    got = launch.grouped_outer(c.x, c.S, c.groups.order, c.groups.offsets, True, Tiles(16, 32, 16, chunk))
    expected, eager = outer(c.x.double(), c.S.double(), c.rows, 4), outer(c.x, c.S, c.rows, 4)
    for mine, exact, like in zip(got, expected, eager, strict=True):
        assert_close_to_float64(mine, exact, like)
    assert not got[0][3].any()


def test_up_leaves_out_what_is_not_given() -> None:
    c = case(19, 1, 37, 9, 3, torch.float32)
    S, B = c.S.double(), c.B.double()
    assert_close_to_float64(
        grouped_up(None, c.S, c.B, c.groups), up(None, S, B, None, c.rows, 1), up(None, c.S, c.B, None, c.rows, 1)
    )
    assert_close_to_float64(
        grouped_up(c.y, c.S, c.B, c.groups), up(c.y.double(), S, B, None, c.rows, 1), up(c.y, c.S, c.B, None, c.rows, 1)
    )


def test_up_adds_float32_before_its_one_rounding() -> None:
    c = case(19, 1, 37, 9, 3, torch.bfloat16)
    y, bias = c.y.float() / 3, c.bias.float() / 3
    expected = up(y.double(), c.S.double(), c.B.double(), bias.double(), c.rows, 1)
    rounded_twice = up(y.bfloat16(), c.S, c.B, bias.bfloat16(), c.rows, 1)
    got = grouped_up(y, c.S, c.B, c.groups, bias)
    assert_close_to_float64(got, expected, rounded_twice)
    assert (got.double() - expected).abs().max() < (rounded_twice.double() - expected).abs().max()


@dtypes
def test_any_strides(dtype: torch.dtype) -> None:
    c = case(21, 35, 41, 9, 3, dtype)
    turned = [t.transpose(1, 2).contiguous().transpose(1, 2) for t in (c.A, c.B)]
    for layout in (strided, transposed):
        view = Case(c.rows, c.groups, layout(c.x), turned[0], layout(c.S), turned[1], layout(c.y), layout(c.bias))
        check_down(view)
        check_up(view)
        check_outer(view)
    dS = grouped_down(c.y, c.B.transpose(1, 2), c.groups)  # as backward does
    assert_close_to_float64(
        dS,
        down(c.y.double(), c.B.double().transpose(1, 2), c.rows, 1),
        down(c.y, c.B.transpose(1, 2), c.rows, 1),
    )


@dtypes
def test_twenty_runs_are_equal(dtype: torch.dtype) -> None:
    c = case(19, 40, 33, 9, 2, dtype)
    order, offsets = c.groups.order, c.groups.offsets

    def run() -> list[torch.Tensor]:
        return [
            launch.grouped_down(c.x, c.A, order, offsets, 0.5, Tiles(16, 32, 16, 2)),
            *launch.grouped_up(c.y, c.S, c.B, order, offsets, c.bias, 0.5, "gelu_tanh", True),
            *launch.grouped_outer(c.x, c.S, order, offsets, True, Tiles(16, 64, 16, 16)),
        ]

    first = run()
    for _ in range(19):
        assert all(torch.equal(a, b) for a, b in zip(first, run(), strict=True))


def test_offsets_beyond_32_bits() -> None:
    """Rows and adapters 2^30 elements apart: 4 GiB of addresses, of which a few pages are touched."""
    c = case(3, 20, 20, 5, 3, torch.float16)
    torch.use_deterministic_algorithms(False)  # or all of it would be filled
    far = []
    for t in (c.x, c.S, c.y, c.A, c.B, c.bias):
        strides = (1 << 30, *t.stride()[1:])
        far.append(torch.empty((1 << 31) + 4096, dtype=t.dtype).as_strided(t.shape, strides).copy_(t))
    groups = Groups.of(torch.tensor([2, 0, 1]), 3)
    rows = torch.tensor([2, 0, 1])
    x, S, y, A, B, bias = far
    view = Case(rows, groups, x, A, S, B, y, bias)
    check_down(view)
    check_up(view)
    check_outer(view)
    wide = torch.empty((1 << 31) + 4096, dtype=A.dtype).as_strided(A.shape, (5, 1 << 26, 1)).copy_(A)
    assert torch.equal(grouped_down(x, wide, groups), grouped_down(x, A, groups))


def test_a_row_of_no_group_touches_nothing() -> None:
    """On a GPU nobody waits to learn that a row is out of range."""
    rows = torch.tensor([-5, 1, 9, 0, 1])
    order, offsets = launch.group_rows(rows, 2)
    assert order.tolist() == [0, 3, 1, 4, 2]
    assert offsets.tolist() == [1, 2, 4]
    x, A = guarded(torch.randn(5, 20)), guarded(torch.randn(2, 20, 3))
    S = launch.grouped_down(x, A, order, offsets, 1.0, Tiles(16, 32, 16))
    torch.testing.assert_close(S[[1, 3, 4]], down(x[[1, 3, 4]], A, rows[[1, 3, 4]], 1.0))
    assert S[[0, 2]].isnan().all()  # poison, unwritten
