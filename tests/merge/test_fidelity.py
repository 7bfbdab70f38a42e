from __future__ import annotations

import json
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from semi.errors import InputError
from semi.merge.codes import Code, MethodName, MethodSettings, encode
from semi.merge.fidelity import Fidelity
from tests.merge.deltas import blocks, deltas

NAMES = "abcdefgh"


def measured(tau: Tensor, code: Code, scales: Tensor | None = None) -> Fidelity:
    fidelity = Fidelity(NAMES[: len(tau)])
    fidelity.add(tau, code, scales)
    return fidelity


@settings(max_examples=40)
@given(tau=blocks(), method=st.sampled_from(["mmer", "ternary", "ties"]), scaled=st.booleans())
def test_the_figures_are_those_of_float64(tau: Tensor, method: MethodName, scaled: bool) -> None:
    code = encode(tau, None, MethodSettings(method))
    scales = 1 + 0.1 * deltas(*tau.shape[:2], seed=3) if scaled else None
    report = measured(tau, code, scales).report()
    json.dumps(report, allow_nan=False)
    back = torch.stack([code.delta(i, None if scales is None else scales[i]) for i in range(len(tau))]).double()
    exact = tau.double()
    for i, figures in enumerate(report["models"].values()):
        square, kept = exact[i].square().sum().item(), back[i].square().sum().item()
        if square:
            left = (exact[i] - back[i]).square().sum().item()
            assert figures["residual"] == pytest.approx(left / square, rel=1e-5, abs=1e-12)
        if square and kept:
            cosine = (exact[i] * back[i]).sum().item() / math.sqrt(square * kept)
            assert figures["cosine"] == pytest.approx(cosine, rel=1e-5, abs=1e-6)
        assert figures["density"] == (back[i] != 0).double().mean().item()
    conflict = ((tau > 0).any(0) & (tau < 0).any(0)).double().mean().item()
    assert report["sign_conflict"] == pytest.approx(conflict)
    for i in range(len(tau)):
        for j in range(i):
            one, other = back[i] != 0, back[j] != 0
            either = int((one | other).sum())
            jaccard = int((one & other).sum()) / either if either else None
            assert report["mask_overlap"][NAMES[i]][NAMES[j]] == jaccard
            assert report["mask_overlap"][NAMES[j]][NAMES[i]] == jaccard


def test_large_blocks_and_sums_of_blocks() -> None:
    tau = deltas(3, 200, 1500)
    code = encode(tau, None, MethodSettings("optimal"))
    whole = measured(tau, code).report()
    parts = Fidelity("abc")
    assert code.masks is not None
    for rows in (slice(0, 33), slice(33, 200)):
        parts.merge(measured(tau[:, rows], Code(code.shared[rows], code.masks[:, rows])))
    found = parts.report()
    assert found["entries"] == whole["entries"] == 300_000
    assert found["sign_conflict"] == whole["sign_conflict"] == pytest.approx(0.75, abs=0.01)
    assert found["mask_overlap"] == whole["mask_overlap"]
    for name in "abc":
        assert found["models"][name] == pytest.approx(whole["models"][name], rel=1e-6)


def test_a_perfect_merge() -> None:
    tau = deltas(1, 5, 6)
    figures = measured(tau, Code(tau[0], None)).report()["models"]["a"]
    assert figures == {"residual": 0.0, "cosine": pytest.approx(1), "density": 1.0, "not_finite": 0}


def test_conflicts_among_the_models_that_were_merged_and_whole_deltas() -> None:
    tau = deltas(3, 4, 8)
    code = encode(tau, None, MethodSettings("mmer"))
    found, all_three = Fidelity("abc", 2), measured(tau, code).report()
    found.compare(tau, torch.stack([code.delta(i) for i in range(3)]))
    assert Fidelity.restore(found.state()).report() == found.report()
    conflict = measured(tau[:2], encode(tau[:2], None, MethodSettings("mmer"))).report()["sign_conflict"]
    assert found.report() == all_three | {"sign_conflict": conflict}
    assert conflict < all_three["sign_conflict"]
    none = Fidelity("abc", 0)
    none.add(tau, code)
    assert none.report()["sign_conflict"] == 0


def test_what_is_not_finite_is_counted_and_left_out() -> None:
    tau = deltas(2, 4, 8)
    code = encode(tau, None, MethodSettings("mmer"))
    spoilt = tau.clone()
    spoilt[0, 0, :3] = torch.tensor([math.nan, math.inf, -math.inf])
    without = tau.clone()
    without[0, 0, :3] = 0
    masks = code.masks
    assert masks is not None
    cleared = masks.clone()
    cleared[0, 0, :3] = False
    report, expected = measured(spoilt, code).report(), measured(without, Code(code.shared, cleared)).report()
    assert report["models"]["a"].pop("not_finite") == 3
    assert expected["models"]["a"].pop("not_finite") == 0
    assert report == expected
    broken = Code(torch.where(torch.arange(8) == 5, math.inf, code.shared), None)
    assert [m["not_finite"] for m in measured(tau, broken).report()["models"].values()] == [4, 4]


def test_nothing_measured_gives_no_figures() -> None:
    report = Fidelity("ab").report()
    assert report["sign_conflict"] is None
    assert report["models"]["a"] == {"residual": 0.0, "cosine": None, "density": None, "not_finite": 0}
    assert report["mask_overlap"] == {"a": {"b": None}, "b": {"a": None}}


def test_something_given_to_a_model_that_did_not_move_has_no_relative_residual() -> None:
    report = measured(torch.zeros(1, 2, 2), Code(torch.ones(2, 2), None)).report()
    assert report["models"]["a"]["residual"] is None


@settings(max_examples=20)
@given(tau=blocks(), method=st.sampled_from(["emr", "ties"]))
def test_factors_after_the_last_block_are_those_of_every_block(tau: Tensor, method: MethodName) -> None:
    code = encode(tau, None, MethodSettings(method))
    factors = torch.linspace(0.5, 2, len(tau))
    late = measured(tau, code).scaled(factors).report()
    early = measured(tau, code, factors[:, None].expand(-1, tau.shape[1])).report()
    assert late["mask_overlap"] == early["mask_overlap"]
    for name, figures in early["models"].items():
        for figure, value in figures.items():
            own = late["models"][name][figure]
            assert own is value is None or own == pytest.approx(value, rel=1e-4, abs=1e-5)


def test_a_state_in_json_continues_exactly() -> None:
    first, second = deltas(3, 7, 90), deltas(3, 5, 90, seed=1)
    codes = [encode(tau, None, MethodSettings("mmer")) for tau in (first, second)]
    straight = measured(first, codes[0])
    resumed = Fidelity.restore(json.loads(json.dumps(straight.state())))
    straight.add(second, codes[1])
    resumed.add(second, codes[1])
    assert resumed.state() == straight.state()
    assert resumed.report() == straight.report()


def test_figures_of_other_models_are_not_added() -> None:
    with pytest.raises(InputError, match="other models"):
        Fidelity("ab").merge(Fidelity("ba"))
