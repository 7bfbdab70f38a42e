from __future__ import annotations

import torch
from hypothesis import given, settings
from torch import Tensor

from semi.merge.codes import MethodSettings, encode
from semi.merge.scales import emr_scales, emr_totals, row_scales, square_sums
from tests.merge.deltas import blocks, deltas


@settings(max_examples=40)
@given(tau=blocks())
def test_rows_are_fitted_by_least_squares(tau: Tensor) -> None:
    delta = tau + 0.3 * deltas(*tau.shape, seed=1)
    scales = row_scales(tau, delta)
    assert (scales.shape, scales.dtype) == (tau.shape[:2], torch.float32)
    for i in range(len(tau)):
        for row in range(tau.shape[1]):
            expected = torch.linalg.lstsq(delta[i, row].double()[:, None], tau[i, row].double()).solution.item()
            torch.testing.assert_close(scales[i, row].item(), expected, rtol=1e-5, atol=1e-5)


def test_rows_of_zeros_get_one() -> None:
    tau = deltas(2, 3, 4)
    assert torch.equal(row_scales(tau, torch.zeros_like(tau)), torch.ones(2, 3))


def test_emr_scales_keep_the_mean_magnitude_over_all_blocks() -> None:
    settings_ = MethodSettings("emr")
    first, second = deltas(3, 4, 50), deltas(3, 2, 50, seed=1)
    totals = sum((emr_totals(tau, encode(tau, None, settings_)) for tau in (first, second)), torch.zeros(()))
    scales = emr_scales(totals)
    whole = torch.cat([first, second], dim=1)
    code = encode(whole, None, settings_)
    for i in range(3):
        given_back = code.delta(i, scales[i]).double().abs().sum()
        torch.testing.assert_close(given_back, whole[i].double().abs().sum(), rtol=1e-6, atol=0)


def test_emr_of_no_delta_has_scale_one() -> None:
    tau = torch.zeros(2, 1, 4)
    assert emr_scales(emr_totals(tau, encode(tau, None, MethodSettings("emr")))).tolist() == [1, 1]


def test_squares_are_summed_by_model() -> None:
    tau = deltas(3, 40, 70)
    torch.testing.assert_close(square_sums(tau), tau.double().square().sum((1, 2)), rtol=1e-6, atol=0)
