from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from semi.errors import InputError
from semi.merge.codes import METHODS, Code, MethodName, MethodSettings, encode
from semi.merge.consensus import agreed, ascending
from tests.merge.deltas import blocks, deltas

ALL = sorted(METHODS)


def some(tau: Tensor, method: MethodName, seed: int = 0) -> Tensor | None:
    """A choice of entries for methods that take one."""
    return deltas(*tau.shape, seed=seed + 1) > 0 if METHODS[method].keeps else None


def rms_of(tau: Tensor, method: MethodName) -> Tensor | None:
    return tau.double().square().mean((1, 2)).sqrt() if METHODS[method].normalised else None


def same(one: Code, other: Code) -> bool:
    """Bit for bit, the sign of zero included."""
    if one.masks is None or other.masks is None:
        return one.masks is other.masks and torch.equal(one.shared.view(torch.int32), other.shared.view(torch.int32))
    return torch.equal(one.shared.view(torch.int32), other.shared.view(torch.int32)) and torch.equal(
        one.masks, other.masks
    )


@pytest.mark.parametrize("method", ALL)
@settings(max_examples=20)
@given(tau=blocks(st.integers(1, 9)), data=st.data())
def test_the_order_of_models_changes_no_bit(method: MethodName, tau: Tensor, data: st.DataObject) -> None:
    order = data.draw(st.permutations(range(len(tau))))
    kept, rms = some(tau, method), rms_of(tau, method)
    lambdas = [0.5 + 0.1 * i for i in range(len(tau))]
    one = encode(tau, kept, MethodSettings(method, lambdas=tuple(lambdas)), rms)
    other = encode(
        tau[order],
        None if kept is None else kept[order],
        MethodSettings(method, lambdas=tuple(lambdas[i] for i in order)),
        None if rms is None else rms[order],
    )
    assert same(Code(one.shared, None if one.masks is None else one.masks[order]), other)


@pytest.mark.parametrize("method", ALL)
def test_blocks_and_threads_change_no_bit(method: MethodName) -> None:
    tau = deltas(3, 90, 1001)  # several tiles, the last of them partly filled
    kept, rms = some(tau, method), rms_of(tau, method)
    whole = encode(tau, kept, MethodSettings(method), rms)
    rows = [slice(0, 1), slice(1, 50), slice(50, 90)]
    parts = [encode(tau[:, r], None if kept is None else kept[:, r], MethodSettings(method), rms) for r in rows]
    shared = torch.cat([part.shared for part in parts])
    masks = [part.masks for part in parts if part.masks is not None]
    assert same(Code(shared, torch.cat(masks, dim=1) if masks else None), whole)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        assert same(encode(tau, kept, MethodSettings(method), rms), whole)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("method", ALL)
@settings(max_examples=15)
@given(tau=blocks())
def test_masks_are_of_their_kind_and_within_the_support(method: MethodName, tau: Tensor) -> None:
    code = encode(tau, some(tau, method), MethodSettings(method), rms_of(tau, method))
    assert (code.shared.shape, code.shared.dtype) == (tau.shape[1:], torch.float32)
    if METHODS[method].mask is None:
        assert code.masks is None
        return
    assert code.masks is not None
    assert code.masks.shape == tau.shape
    assert code.masks.dtype == (torch.int8 if method == "ternary" else torch.bool)
    assert not code.masks[:, code.shared == 0].any()
    assert not code.masks[tau == 0].any()  # a model that did not move keeps the base there
    assert set(torch.unique(code.masks).tolist()) <= {-1, 0, 1}


@settings(max_examples=30)
@given(tau=blocks(), agg=st.sampled_from(["sum", "mean"]), alpha=st.sampled_from([0.3, 1.0, -2.0]))
def test_task_arithmetic_is_a_sum_or_mean(tau: Tensor, agg: Any, alpha: float) -> None:
    code = encode(tau, None, MethodSettings("task_arithmetic", agg=agg, alpha=alpha))
    expected = alpha * (tau.double().sum(0) if agg == "sum" else tau.double().mean(0))
    torch.testing.assert_close(code.shared.double(), expected, rtol=1e-5, atol=1e-6)
    assert torch.equal(encode(tau, None, MethodSettings("tall", agg=agg, alpha=alpha)).shared, code.shared)


@settings(max_examples=30)
@given(tau=blocks(), agg=st.sampled_from(["sum", "dis-mean"]), tie=st.sampled_from(["none", "plus"]))
def test_mmer_is_ties_with_masks_of_the_untrimmed_deltas(tau: Tensor, agg: Any, tie: Any) -> None:
    kept = some(tau, "ties")
    assert kept is not None
    ties = encode(tau, kept, MethodSettings("ties", agg=agg, tie=tie, alpha=0.7))
    rows = ascending((tau * kept).flatten(1))
    expected = 0.7 * agreed(rows, mean=agg == "dis-mean", zero_is_plus=tie == "plus")
    assert torch.equal(ties.shared.view(-1), expected)
    mmer = encode(tau, kept, MethodSettings("mmer", agg=agg, tie=tie, alpha=0.7))
    assert torch.equal(ties.shared, mmer.shared)
    assert mmer.masks is not None
    assert torch.equal(mmer.masks, (tau.abs() >= (ties.shared - tau).abs()) & (ties.shared != 0))


def test_what_a_sum_of_zero_elects() -> None:
    tau = torch.tensor([[1.0, 0.0], [2.0, 0.0], [-3.0, 0.0]])
    assert encode(tau, None, MethodSettings("mmer", tie="none")).shared.tolist() == [0, 0]
    assert encode(tau, None, MethodSettings("mmer", tie="plus")).shared.tolist() == [1.5, 0]


@settings(max_examples=30)
@given(tau=blocks(), agg=st.sampled_from([None, "mean", "sum", "dis-mean"]))
def test_dare_scales_up_what_it_keeps(tau: Tensor, agg: Any) -> None:
    kept = some(tau, "dare")
    assert kept is not None
    code = encode(tau, kept, MethodSettings("dare", agg=agg, share=0.25))
    grown = tau * kept / 0.25
    method: MethodName = "ties" if agg == "dis-mean" else "task_arithmetic"
    like = encode(grown, None, MethodSettings(method, agg=agg or "mean"))
    torch.testing.assert_close(code.shared, like.shared, rtol=1e-6, atol=1e-6)
    assert code.masks is None


@settings(max_examples=30)
@given(tau=blocks())
def test_emr_masks_are_where_signs_agree(tau: Tensor) -> None:
    code = encode(tau, None, MethodSettings("emr"))
    assert code.masks is not None
    assert torch.equal(code.masks, tau * code.shared > 0)
    assert ((code.delta(0).abs() >= tau[0].abs()) | ~code.masks[0]).all()


@pytest.mark.parametrize("method", ["optimal", "ternary"])
def test_rms_factors_free_the_code_of_the_scales_of_models(method: MethodName) -> None:
    tau, factors = deltas(3, 5, 30), torch.tensor([1.0, 2.0**-10, 2.0**6])
    plain = encode(tau, None, MethodSettings(method), torch.ones(3))
    scaled = encode(tau * factors[:, None, None], None, MethodSettings(method), factors.double())
    assert same(plain, scaled)
    still = tau * torch.tensor([1.0, 0.0, 1.0])[:, None, None]
    unscaled = encode(still, None, MethodSettings(method))
    assert same(encode(still, None, MethodSettings(method), torch.tensor([1.0, 0.0, 1.0])), unscaled)


def test_a_delta_is_scale_mask_and_shared_vector() -> None:
    shared = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    masks = torch.tensor([[[1, 0], [1, 1]], [[-1, 1], [0, -1]]], dtype=torch.int8)
    code = Code(shared, masks)
    assert code.delta(0).tolist() == [[1, 0], [3, 4]]
    assert code.delta(1, torch.tensor([2.0, 10.0])).tolist() == [[-2, 4], [0, -40]]
    assert code.delta(0, torch.tensor(0.5)).tolist() == [[0.5, 0], [1.5, 2]]
    assert Code(shared, None).delta(1).tolist() == shared.tolist()


@pytest.mark.parametrize(
    ("given_settings", "message"),
    [
        ({"method": "slerp"}, "there is no such merge method\n  got: slerp"),
        ({"method": "mmer", "agg": "mean"}, "mmer cannot join models like that\n  got: agg: mean"),
        ({"method": "optimal", "agg": "sum"}, "one way only"),
        ({"method": "emr", "alpha": 0.5}, "emr finds its own scale"),
        ({"alpha": float("nan")}, "alpha"),
        ({"tie": "minus"}, "none, plus"),
        ({"lambdas": (1.0, -1.0)}, "lambda"),
        ({"lambdas": (float("inf"),)}, "lambda"),
        ({"share": 0.0}, "share"),
    ],
)
def test_settings_that_do_not_fit_are_refused(given_settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        MethodSettings(**given_settings)


@pytest.mark.parametrize(
    ("method", "given_arguments", "message"),
    [
        ("optimal", {"kept": torch.ones(2, 3, dtype=torch.bool)}, "choice of entries"),
        ("mmer", {"kept": torch.ones(3, dtype=torch.bool)}, r"got: \(3,\)\n  expected: \(2, 3\)"),
        ("mmer", {"rms": torch.ones(2)}, "rms"),
        ("optimal", {"rms": torch.ones(3)}, r"got: \(3,\)\n  expected: \(2,\)"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(
    method: MethodName, given_arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        encode(torch.ones(2, 3), **{"kept": None, "settings": MethodSettings(method), **given_arguments})


def test_lambdas_are_one_a_model() -> None:
    with pytest.raises(InputError, match="lambdas do not fit"):
        encode(torch.ones(2, 3), None, MethodSettings(lambdas=(1.0,)))
