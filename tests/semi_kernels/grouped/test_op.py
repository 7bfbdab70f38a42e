"""The operations as PyTorch sees them: registration, tracing, the reference, bad input."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from semi_kernels.dispatch import has_triton
from semi_kernels.grouped import Groups, grouped_down, grouped_outer, grouped_up
from tests.semi_kernels.grouped.cases import act, case, down, outer, up

modes = pytest.mark.parametrize("mode", ["reference", "triton"] if has_triton() else ["reference"])


def calls() -> list[tuple[str, tuple[Any, ...]]]:
    c = case(5, 12, 10, 3, 2, torch.float32)
    formed = (c.groups.order, c.groups.offsets)
    return [
        ("group_rows", (c.rows, 2)),
        ("grouped_down", (c.x, c.A, *formed, 0.5)),
        ("grouped_up", (c.y, c.S, c.B, *formed, c.bias, 0.5, "gelu_tanh", True)),
        ("grouped_up", (None, c.S, c.B, *formed, None, 0.5, None, False)),
        ("grouped_outer", (c.x, c.S, *formed, True)),
        ("grouped_outer", (c.x.half(), c.S.half(), *formed, False)),
    ]


@modes
@pytest.mark.parametrize(("name", "arguments"), calls(), ids=[name for name, _ in calls()])
def test_opcheck(mode: str, name: str, arguments: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEMI_KERNELS", mode)
    torch.library.opcheck(getattr(torch.ops.semi_kernels, name).default, arguments)


@modes
def test_compiles_as_one_graph_for_any_number_of_rows(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEMI_KERNELS", mode)
    graphs = 0

    def layer(x: Tensor, A: Tensor, B: Tensor, y: Tensor, rows: Tensor) -> tuple[Tensor, ...]:
        groups = Groups.of(rows, A.shape[0])
        S = grouped_down(x, A, groups, 0.1)
        out, pre = grouped_up(y, S, B, groups, None, 1.0, "gelu_tanh", preactivation=True)
        return out, pre, *grouped_outer(x, S, groups, column_sum=True)

    def count(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Any:
        nonlocal graphs
        graphs += 1
        return torch._dynamo.lookup_backend("aot_eager")(graph, inputs)

    torch._dynamo.reset()
    compiled = torch.compile(layer, fullgraph=True, dynamic=True, backend=count)
    for M in (5, 8, 17):
        c = case(M, 12, 10, 3, 2, torch.float32)
        arguments = tuple(t.clone() for t in (c.x, c.A, c.B, c.y, c.rows))  # no views: each is a shape more to trace
        for got, expected in zip(compiled(*arguments), layer(*arguments), strict=True):
            assert torch.equal(got, expected)
    assert graphs == 1


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
def test_reference(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEMI_KERNELS", "reference")
    c = case(33, 20, 18, 5, 4, dtype, used=3)
    exact = [t.double() for t in (c.x, c.A, c.S, c.B, c.y, c.bias)]
    x, A, S, B, y, bias = exact
    tolerance = 2e-2 if dtype.itemsize == 2 else 1e-4

    def close(mine: Tensor, exactly: Tensor) -> None:
        torch.testing.assert_close(mine.double(), exactly, rtol=tolerance, atol=tolerance)

    close(grouped_down(c.x, c.A, c.groups, 0.5), down(x, A, c.rows, 0.5))
    got, pre = grouped_up(c.y, c.S, c.B, c.groups, c.bias, 0.5, "gelu_tanh", preactivation=True)
    expected = up(y, S, B, bias, c.rows, 0.5)
    close(pre, expected)
    close(got, act(expected))
    product, sums = grouped_outer(c.x, c.S, c.groups, column_sum=True)
    assert product.dtype == sums.dtype == torch.promote_types(dtype, torch.float32)
    for mine, exactly in zip((product, sums), outer(x, S, c.rows, 4), strict=True):
        torch.testing.assert_close(mine.double(), exactly, rtol=1e-4, atol=1e-4)


def test_bad_input_is_refused() -> None:
    c = case(5, 12, 10, 3, 2, torch.float32)
    with pytest.raises(
        ValueError, match=r"grouped_down: got A of shape \(2, 11, 3\), expected \(G, K, r\) with K = 12"
    ):
        grouped_down(c.x, c.A[:, :11], c.groups)
    with pytest.raises(ValueError, match=r"grouped_down: got x of shape \(4, 12\), expected \(M, K\) with M = 5"):
        grouped_down(c.x[:4], c.A, c.groups)
    with pytest.raises(ValueError, match=r"got A of shape \(12, 3\), expected \(G, K, r\)"):
        grouped_down(c.x, c.A[0], c.groups)
    with pytest.raises(TypeError, match=r"got x of torch.float16 and A of torch.float32, expected one dtype"):
        grouped_down(c.x.half(), c.A, c.groups)
    with pytest.raises(ValueError, match=r"got scale = inf, expected a finite number"):
        grouped_down(c.x, c.A, c.groups, float("inf"))
    with pytest.raises(ValueError, match=r"grouped_up: got bias of shape \(3, 10\), expected \(G, N\) with G = 2"):
        grouped_up(c.y, c.S, c.B, c.groups, torch.zeros(3, 10))
    with pytest.raises(ValueError, match=r"got activation 'relu', expected one of \(None, 'gelu_tanh'\)"):
        grouped_up(c.y, c.S, c.B, c.groups, activation="relu")
    with pytest.raises(TypeError, match=r"got y of torch.int64, expected a real floating point dtype"):
        grouped_up(c.y.long(), c.S, c.B, c.groups)
    with pytest.raises(ValueError, match=r"grouped_outer: got d on meta, expected cpu, where the groups are"):
        grouped_outer(c.x, c.S.to("meta"), c.groups)
