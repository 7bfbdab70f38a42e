"""What is known about MMER and one-bit codes, as properties."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from semi.merge.codes import METHODS, MethodName, MethodSettings, encode
from semi.merge.fidelity import Fidelity
from semi.merge.scales import row_scales
from semi.merge.trim import Magnitudes
from tests.merge.deltas import Kind, blocks, deltas


def trimmed(tau: Tensor, share: float) -> Tensor:
    """The largest entries of each model: bool (N, ...)."""
    kept = []
    for model in tau:
        magnitudes = Magnitudes(share)
        magnitudes.count(model)
        magnitudes.refine(model)
        kept.append(magnitudes.threshold().keep(model)[0])
    return torch.stack(kept)


def residuals(tau: Tensor, method: MethodName, share: float = 1.0) -> list[float]:
    """||tau_i - m_i v||^2 / ||tau_i||^2 of each model, without scales."""
    fidelity = Fidelity([str(i) for i in range(len(tau))])
    kept = trimmed(tau, share) if METHODS[method].keeps == "trim" else None
    fidelity.add(tau, encode(tau, kept, MethodSettings(method)))
    return [model["residual"] for model in fidelity.report()["models"].values()]


@settings(max_examples=50)
@given(tau=blocks(), share=st.sampled_from([0.2, 1.0]))
def test_lambda_one_leaves_the_least_of_every_entry(tau: Tensor, share: float) -> None:
    code = encode(tau, trimmed(tau, share), MethodSettings("mmer"))
    tau, shared = tau.double(), code.shared.double()
    for i in range(len(tau)):
        left = (tau[i] - code.delta(i).double()).abs()
        best = torch.minimum(tau[i].abs(), (tau[i] - shared).abs())
        torch.testing.assert_close(left, best, rtol=1e-6, atol=0)  # equal but where both distances are, to a rounding


@settings(max_examples=50)
@given(tau=blocks(), factor=st.sampled_from([0.25, 0.5, 1.0, 2.0, 4.0]))
def test_the_mask_is_an_interval_of_the_ratio(tau: Tensor, factor: float) -> None:
    """m = 1 iff 1 - 1/lambda <= v / tau <= 1 + 1/lambda."""
    code = encode(tau, None, MethodSettings("mmer", lambdas=(factor,) * len(tau)))
    assert code.masks is not None
    ratio = code.shared.double() / tau.double()
    inside = (ratio >= 1 - 1 / factor) & (ratio <= 1 + 1 / factor)
    near = ((ratio - 1).abs() * factor - 1).abs() < 1e-6
    asked = (tau != 0) & (code.shared != 0) & ~near
    assert torch.equal(code.masks[asked], inside[asked])


@settings(max_examples=30)
@given(tau=blocks(), share=st.sampled_from([0.2, 1.0]))
def test_lambda_zero_is_the_static_merge_and_masks_shrink_as_it_grows(tau: Tensor, share: float) -> None:
    kept = trimmed(tau, share)
    previous = None
    for factor in (0.0, 1e-6, 0.1, 0.5, 1.0, 1.5, 3.0, 100.0):
        code = encode(tau, kept, MethodSettings("mmer", lambdas=(factor,) * len(tau)))
        assert code.masks is not None
        if previous is None:
            assert torch.equal(code.masks, (code.shared != 0).expand_as(code.masks))
        else:
            assert (previous | ~code.masks).all()
        previous = code.masks


@settings(max_examples=30)
@given(tau=blocks(st.just(1)))
def test_one_model_comes_back_exactly(tau: Tensor) -> None:
    everything = encode(tau, None, MethodSettings("mmer"))
    assert torch.equal(everything.delta(0), tau[0])
    kept = trimmed(tau, 0.2)
    assert torch.equal(encode(tau, kept, MethodSettings("mmer")).delta(0), tau[0] * kept[0])
    one_bit: tuple[MethodName, ...] = ("emr", "tall", "optimal", "ternary")
    for method in one_bit:
        assert torch.equal(encode(tau, None, MethodSettings(method)).delta(0), tau[0])


@settings(max_examples=20)
@given(tau=blocks(), method=st.sampled_from([name for name in METHODS if METHODS[name].mask]))
def test_a_model_that_did_not_move_keeps_the_base(tau: Tensor, method: MethodName) -> None:
    tau[0] = 0
    assert not encode(tau, None, MethodSettings(method)).delta(0).any()


def test_one_model_of_bf16_comes_back_exactly_from_deltas_in_fp32_only() -> None:
    """Weights of rms 0.02 moved by 1 % of that: a delta in bf16 makes 0.33 % of the weights come back wrong."""
    base = (0.02 * deltas(1_000_000)).bfloat16()
    model = (base.float() + 0.0002 * deltas(1_000_000, seed=1)).bfloat16()
    tau = model.float() - base.float()
    assert torch.equal((base.float() + tau).bfloat16(), model)
    wrong = ((base.float() + tau.bfloat16().float()).bfloat16() != model).double().mean().item()
    assert wrong == pytest.approx(0.0033, abs=0.0003)


@pytest.mark.parametrize(
    ("method", "share", "residual"),
    [
        ("ties", 0.2, 1.53),
        ("mmer", 0.2, 0.375),
        ("mmer", 1.0, 0.254),
        ("optimal", 1.0, 0.188),
        ("ternary", 1.0, 0.080),
    ],
)
def test_what_is_left_of_three_gaussian_deltas(method: MethodName, share: float, residual: float) -> None:
    """Three independent standard normal deltas, each trimmed to a share; disjoint mean, alpha and lambda 1, no scales.

    The figure is ||tau_i - m_i v||^2 / ||tau_i||^2, the same for each model; TIES gives every model all of v.
    """
    for found in residuals(deltas(3, 300, 1000), method, share):
        assert found == pytest.approx(residual, abs=0.01)


@pytest.mark.parametrize("models", [2, 3, 5, 8])
@pytest.mark.parametrize("kind", ["gaussian", "sparse"])
def test_nothing_leaves_less_than_the_optimal_code(models: int, kind: Kind) -> None:
    tau = deltas(models, 20, 200, kind=kind)
    square = tau.double().square().sum((1, 2))

    def left(method: MethodName, share: float = 1.0) -> float:
        return float((torch.tensor(residuals(tau, method, share)) * square).sum() / square.sum())

    optimal = left("optimal")
    rounding = 1e-6
    assert left("ternary") <= optimal + rounding
    for method in ("emr", "tall", "task_arithmetic"):
        assert optimal <= left(method) + rounding
    for share in (0.1, 0.2, 0.5, 1.0):
        assert optimal <= left("mmer", share) + rounding
        assert optimal <= left("ties", share) + rounding


def test_a_model_with_a_small_delta_is_starved_unless_deltas_are_normalised() -> None:
    tau = deltas(3, 100, 300) * torch.tensor([1.0, 1.0, 0.01])[:, None, None]
    rms = tau.double().square().mean((1, 2)).sqrt()
    left = []
    for factors in (None, rms):
        code = encode(tau, None, MethodSettings("optimal"), factors)
        delta = torch.stack([code.delta(i) for i in range(3)])
        scales = row_scales(tau, delta)
        fidelity = Fidelity("abc")
        fidelity.add(tau, code, scales)
        left.append([model["residual"] for model in fidelity.report()["models"].values()])
    assert left[0][2] > 0.5
    assert max(left[1]) < 0.2
