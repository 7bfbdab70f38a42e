"""What PyTorch expects of an operation, how many launches it takes, and what it refuses."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from semi_kernels.fused_lora import absorb, fused_lora, launch
from semi_kernels.fused_lora.isometries import flatten as flatten_isometry
from semi_kernels.isometry import Haar, Householder, SignedPermutation
from semi_kernels.weights import flatten
from tests.semi_kernels.fused_lora.cases import Case, make

FREE = ("aten::empty", "aten::view", "aten::reshape", "aten::_unsafe_view", "aten::slice", "aten::select")
FREE += ("aten::as_strided", "aten::unsqueeze", "aten::detach", "aten::alias", "aten::expand", "aten::_reshape_alias")
FREE += (
    "aten::promote_types",
    "aten::new_empty",
    "aten::to",
    "aten::transpose",
    "aten::t",
    "aten::squeeze",
    "aten::contiguous",
)
FREE += ("aten::min", "aten::max", "aten::amin", "aten::amax", "aten::item", "aten::_local_scalar_dense")  # first look


@pytest.mark.parametrize("isometry", [None, "householder", "signed_permutation", "hadamard"])
@pytest.mark.parametrize("weight", ["dense", "nf4_nested", "q4_1"])
@pytest.mark.parametrize("G", [1, 3])
def test_one_launch(isometry: str | None, weight: str, G: int, kernels: pytest.MonkeyPatch) -> None:
    """At most 128 rows: one kernel, and no operation of PyTorch that would be another."""
    launches: list[str] = []

    class Counted:
        def __getitem__(self, grid: Any) -> Any:
            return lambda *_, **__: launches.append("fused_lora")  # the interpreter itself calls PyTorch

    arguments = make(Case(M=16, K=64, isometry=isometry, weight=weight, G=G, activation="gelu_tanh"), torch.float32)
    fused_lora(**arguments)  # looks into rows, makes tables
    from semi_kernels.fused_lora import kernel

    kernels.setattr(kernel, "_fused_lora", Counted())
    with profile(activities=[ProfilerActivity.CPU]) as recorded:
        fused_lora(**arguments)
    others = {e.name for e in recorded.events() if e.name.startswith("aten::")} - set(FREE)
    assert launches == ["fused_lora"]
    assert not others


def test_haar_takes_a_launch_of_its_own(kernels: pytest.MonkeyPatch) -> None:
    assert not Haar.fusable
    with pytest.raises(TypeError, match="apply it to x first"):
        flatten_isometry(Haar.sample(8, generator=torch.Generator()), torch.zeros(1, 8))


@pytest.mark.parametrize("mode", ["triton", "reference"])
@pytest.mark.parametrize(
    "case", [Case(M=5), Case(M=5, G=3, activation="gelu_tanh"), Case(M=130, weight="nf4")], ids=str
)
def test_opcheck(case: Case, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEMI_KERNELS", mode)
    a = make(case, torch.float32)
    parts, layout, N, _ = flatten(a["weight"])
    for name in ("x", "A", "B", "bias", "adapter_bias"):
        a[name] = a[name].clone().requires_grad_()
    arguments = (a["x"], parts, layout, N, a["A"], a["B"], a["bias"], a["adapter_bias"], a["rows"], [], "none", 0.5)
    torch.library.opcheck(torch.ops.semi_kernels.fused_lora, (*arguments, case.activation or "none", True))


@pytest.mark.parametrize(
    "case", [Case(activation="gelu_tanh"), Case(G=3, weight="nf4_nested"), Case(isometry="householder")], ids=str
)
def test_compiles_whole_with_any_number_of_rows(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = torch.compile(fused_lora, fullgraph=True, dynamic=True, backend="aot_eager")
    a = make(case, torch.float32)
    for M in (5, 130, 7):
        arguments = {
            **a,
            **{k: v for k, v in make(Case(**{**vars(case), "M": M}), torch.float32).items() if k in ("x", "rows")},
        }
        leaf = a["A"].clone().requires_grad_()
        got, expected = compiled(**{**arguments, "A": leaf}), fused_lora(**arguments)
        torch.testing.assert_close(got, expected)
        (gradient,) = torch.autograd.grad(got.sum(), leaf)
        assert gradient.isfinite().all()
    torch.compiler.reset()


def refused(**changed: Any) -> dict[str, Any]:
    return {**make(Case(M=5, K=64, G=3), torch.float32), **changed}


BAD: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"x": torch.zeros(5, 63)}, ValueError, r"x of shape \(5, 63\), expected \(\.\.\., 64\)"),
    ({"x": torch.zeros(())}, ValueError, "x of shape"),
    ({"x": torch.zeros(5, 64, dtype=torch.int64)}, TypeError, "x of torch.int64, expected a real floating"),
    ({"weight": torch.zeros(64)}, ValueError, r"expected \(N, K\)"),
    ({"weight": "W"}, TypeError, "weight: got str"),
    ({"weight": torch.zeros(40, 64, requires_grad=True)}, ValueError, "requires a gradient, expected a frozen one"),
    ({"A": None}, ValueError, "B without A"),
    ({"B": None}, ValueError, "A without B"),
    ({"A": torch.zeros(3, 63, 8)}, ValueError, r"A of shape \(3, 63, 8\), expected \(3, 64, 8\)"),
    ({"B": torch.zeros(3, 7, 40)}, ValueError, r"B of shape \(3, 7, 40\), expected \(3, 8, 40\)"),
    ({"bias": torch.zeros(39)}, ValueError, r"bias of shape \(39,\), expected \(40,\)"),
    ({"adapter_bias": torch.zeros(2, 40)}, ValueError, r"adapter_bias of shape \(2, 40\), expected \(3, 40\)"),
    ({"rows": None}, ValueError, "no rows, expected an adapter's number for each row: there are 3"),
    ({"rows": torch.tensor([0, 1, 2, 3, 0])}, ValueError, "rows from 0 to 3, expected 0 to 2"),
    ({"rows": torch.tensor([0, 1, -1, 2, 0])}, ValueError, "rows from -1 to 2, expected 0 to 2"),
    ({"rows": torch.zeros(4, dtype=torch.int64)}, ValueError, r"rows of shape \(4,\)"),
    ({"rows": torch.zeros(5)}, TypeError, "rows of torch.float32, expected an integer"),
    ({"scale": math.nan}, ValueError, "scale = nan, expected a finite"),
    ({"activation": "relu"}, ValueError, "activation = 'relu', expected one of"),
    ({"isometry": SignedPermutation.sample(63, generator=torch.Generator())}, ValueError, "an isometry of width 63"),
    ({"A": torch.zeros(3, 64, 8, device="meta")}, ValueError, "A on meta, expected cpu, the device of x"),
]


@pytest.mark.parametrize(("changed", "error", "message"), BAD, ids=[m[:40] for _, _, m in BAD])
def test_bad_input_is_refused_before_a_launch(
    changed: dict[str, Any], error: type[Exception], message: str, kernels: pytest.MonkeyPatch
) -> None:
    def launched(*_: object, **__: object) -> None:
        raise AssertionError("launched")

    kernels.setattr(launch, "few_rows_forward", launched)
    with pytest.raises(error, match=message):
        fused_lora(**refused(**changed))


def test_absorb_refuses_what_does_not_fit() -> None:
    R = Householder.sample(8, generator=torch.Generator())
    with pytest.raises(ValueError, match="an isometry of width 8, expected 9"):
        absorb(R, torch.zeros(4, 9))
    with pytest.raises(ValueError, match="A without B"):
        absorb(R, torch.zeros(4, 8), torch.zeros(8, 2))


def test_inference_tensors_have_no_version(kernels: pytest.MonkeyPatch) -> None:
    with torch.inference_mode():
        arguments = make(Case(G=3), torch.float32)
        y = fused_lora(**arguments)
        assert torch.equal(y, fused_lora(**arguments))
        arguments["rows"][0] = 7
        with pytest.raises(ValueError, match=r"rows from [01] to 7"):
            fused_lora(**arguments)


def test_rows_changed_in_place_are_looked_at_again(kernels: pytest.MonkeyPatch) -> None:
    arguments = refused()
    fused_lora(**arguments)
    arguments["rows"][0] = 7
    with pytest.raises(ValueError, match=r"rows from [01] to 7"):
        fused_lora(**arguments)
