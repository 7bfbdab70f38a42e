"""The kernel, and every other plan, against float64: never worse than twice eager PyTorch."""

from __future__ import annotations

import pytest
import torch

from semi_kernels.fused_lora import fused_lora
from tests.semi_kernels.fused_lora.cases import WEIGHTS, Case, in_float64, make
from tests.semi_kernels.numerics import DTYPES, assert_close_to_float64, strided, transposed

ROWS = [Case(M=M, K=64, N=33, r=7, weight="nf4_nested") for M in (0, 1, 2, 15, 16, 17, 64, 127, 128, 129)]
RANKS = [Case(r=r, K=64) for r in (0, 1, 7, 8, 24, 32, 64, 127, 128, 256, 257)]
STORED = [Case(weight=w, K=K) for w in WEIGHTS for K in (64, 96)]
ODD = [
    Case(K=K, N=N, weight=w) for w in ("dense", "nf4", "nf4_nested") for K, N in ((63, 17), (65, 1), (1, 5), (130, 65))
]
GROUPS = [Case(M=M, G=G, weight=w) for M in (1, 17) for G in (3, 17) for w in ("dense", "nf4_nested")]
GROUPS += [Case(M=130, G=G, weight=w, K=64) for G, w in ((3, "dense"), (17, "nf4"), (3, "q4_1"))]
TURNED = [
    Case(M=M, K=K, isometry=kind, weight=w, G=G)
    for kind, K in (("householder", 64), ("signed_permutation", 65), ("hadamard", 96), ("haar", 33))
    for M, w, G in ((1, "dense", 1), (17, "nf4_nested", 3), (130, "dense", 1))
]
PARTS = [
    Case(activation="gelu_tanh"),
    Case(activation="gelu_tanh", M=130, weight="nf4"),
    Case(activation="gelu_tanh", M=130, G=3),
    Case(base=False),
    Case(base=False, M=130),
    Case(base=False, M=130, G=3),
    Case(bias=False),
    Case(bias=False, M=130, weight="q4_1"),
    Case(r=0, bias=False),
    Case(r=0, M=130),
]
CASES = list(dict.fromkeys(ROWS + RANKS + STORED + ODD + GROUPS + TURNED + PARTS))


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: str(d).removeprefix("torch."))
@pytest.mark.parametrize("case", CASES, ids=str)
def test_kernels_against_float64(case: Case, dtype: torch.dtype, kernels: pytest.MonkeyPatch) -> None:
    arguments = make(case, dtype)
    got = fused_lora(**arguments)
    kernels.setenv("SEMI_KERNELS", "reference")
    assert_close_to_float64(got, fused_lora(**in_float64(arguments)), fused_lora(**arguments))


@pytest.mark.parametrize("case", [Case(M=17), Case(M=17, weight="nf4_nested"), Case(M=130)], ids=str)
@pytest.mark.parametrize("layout", [strided, transposed], ids=["strided", "transposed"])
def test_x_of_any_strides(case: Case, layout: object, kernels: pytest.MonkeyPatch) -> None:
    arguments = make(case, torch.float32)
    plain = fused_lora(**arguments)
    assert torch.equal(fused_lora(**{**arguments, "x": layout(arguments["x"])}), plain)  # type: ignore[operator]


@pytest.mark.parametrize("case", [Case(M=5), Case(M=5, weight="nf4"), Case(M=5, G=3), Case(M=130, G=3)], ids=str)
def test_a_narrower_view_of_weight_and_adapter(case: Case, kernels: pytest.MonkeyPatch) -> None:
    """A, B and a dense weight may be views: columns of wider tensors."""
    arguments = make(case, torch.float32)
    views = dict(arguments)
    for name in ("A", "B"):
        views[name] = torch.cat([arguments[name]] * 2, dim=-1)[..., : arguments[name].shape[-1]]
    if case.weight == "dense":
        views["weight"] = torch.cat([arguments["weight"], arguments["weight"]], dim=1)[:, : case.K]
    assert torch.allclose(fused_lora(**views), fused_lora(**arguments), atol=1e-6)


def test_leading_axes_are_rows(kernels: pytest.MonkeyPatch) -> None:
    arguments = make(Case(M=12, G=3), torch.float32)
    flat = fused_lora(**arguments)
    shaped = {**arguments, "x": arguments["x"].view(2, 3, 2, -1), "rows": arguments["rows"].view(2, 3, 2)}
    assert torch.equal(fused_lora(**shaped), flat.view(2, 3, 2, -1))
    one = fused_lora(**{**arguments, "x": arguments["x"][3], "rows": arguments["rows"][3:4]})
    assert torch.allclose(one, flat[3], atol=1e-6)


@pytest.mark.parametrize("case", [Case(M=17, weight="nf4_nested"), Case(M=17, G=3), Case(M=130, G=3)], ids=str)
def test_twenty_runs_are_the_same_bits(case: Case, kernels: pytest.MonkeyPatch) -> None:
    arguments = make(case, torch.float16)
    first = fused_lora(**arguments)
    assert all(torch.equal(fused_lora(**arguments), first) for _ in range(19))


def test_one_cast_rule_for_mixed_dtypes(kernels: pytest.MonkeyPatch) -> None:
    arguments = make(Case(M=5), torch.float16)
    mixed = {**arguments, **{k: arguments[k].float() for k in ("weight", "A", "B", "bias", "adapter_bias")}}
    got = fused_lora(**mixed)
    assert got.dtype == torch.float16
    assert torch.equal(got, fused_lora(**arguments))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert fused_lora(**make(Case(M=5), torch.float32)).dtype == torch.bfloat16


@pytest.mark.parametrize("M", [5, 130])
def test_householder_as_rank_equals_the_explicit_product(M: int, kernels: pytest.MonkeyPatch) -> None:
    """x R W^T + (x R) A B = x W^T + [x A, x V] [B ; -T V^T (W^T + A B)] (KERNELS section 2), exactly."""
    from semi_kernels.fused_lora import absorb

    arguments = make(Case(M=M, K=64, isometry="householder"), torch.float64)
    kernels.setenv("SEMI_KERNELS", "reference")
    explicit = fused_lora(**arguments)
    R = arguments.pop("isometry")
    A, B = absorb(R, arguments["weight"], arguments["A"], arguments["B"], scale=arguments["scale"])
    assert A.shape[-1] == arguments["A"].shape[-1] + R.v.shape[1]
    torch.testing.assert_close(fused_lora(**{**arguments, "A": A, "B": B, "scale": 1.0}), explicit, rtol=0, atol=1e-12)
    kernels.setenv("SEMI_KERNELS", "triton")
    narrow = {
        k: v.float() if isinstance(v, torch.Tensor) and v.is_floating_point() else v for k, v in arguments.items()
    }
    got = fused_lora(**{**narrow, "A": A.float(), "B": B.float(), "scale": 1.0})
    torch.testing.assert_close(got.double(), explicit, rtol=0, atol=1e-5)
