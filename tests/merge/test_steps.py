from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from semi.merge.codes import METHODS, Code, MethodName, MethodSettings, encode
from semi.merge.routing import TEXT
from semi.merge.scales import row_scales
from semi.merge.steps import Step, TextPolicy, Weights, steps
from semi_kernels import pack_mask
from tests.merge.deltas import blocks, deltas

N, ROWS, COLUMNS = 3, 5, 7


def coded(method: MethodName, tau: Tensor, *, scaled: bool) -> tuple[Code, Tensor | None]:
    code = encode(tau, None, MethodSettings(method))
    return code, row_scales(tau, torch.stack([code.delta(i) for i in range(len(tau))])) if scaled else None


@given(tau=blocks(), method=st.sampled_from(list(METHODS)), scaled=st.booleans())
def test_a_step_is_the_delta_of_the_code(tau: Tensor, method: MethodName, scaled: bool) -> None:
    code, scales = coded(method, tau, scaled=scaled)
    found = steps(code.shared, code.masks, scales, len(tau), "base")
    assert sorted(found) == list(range(len(tau)))
    for i, step in found.items():
        assert torch.equal(step.delta(), code.delta(i, None if scales is None else scales[i]))


@pytest.mark.parametrize("method", ["ties", "mmer", "optimal", "ternary"])
def test_text_policies(method: MethodName) -> None:
    code, scales = coded(method, deltas(N, ROWS, COLUMNS, kind="sparse"), scaled=method in ("optimal", "ternary"))
    masks = torch.ones(N, ROWS, COLUMNS) if code.masks is None else code.masks.float()
    own = torch.stack([code.delta(i, None if scales is None else scales[i]) for i in range(N)])
    scale = torch.ones(ROWS, 1) if scales is None else scales.mean(0)[:, None]
    vector = code.shared * masks.sum(0).sign() if method == "ternary" else code.shared
    expected: dict[TextPolicy, Tensor] = {
        "merged": vector * scale,
        "mean": own.mean(0),
        "union": vector * scale * (masks != 0).any(0),
    }
    for policy, delta in expected.items():
        text = steps(code.shared, code.masks, scales, N, policy)[TEXT]
        torch.testing.assert_close(text.delta(), delta, rtol=0, atol=1e-7)


def test_union_leaves_out_what_no_modality_gets() -> None:
    shared, masks = torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[[True, False, False]], [[True, True, False]]])
    found = {policy: steps(shared, masks, None, 2, policy) for policy in ("merged", "union", "mean", "base")}
    assert {policy: found[policy][TEXT].delta().tolist()[0] for policy in ("merged", "union", "mean")} == {
        "merged": [1, 2, 3],
        "union": [1, 2, 0],
        "mean": [1, 1, 0],
    }
    assert TEXT not in found["base"]


@pytest.mark.parametrize("method", ["mmer", "ternary"])
def test_an_added_model_has_a_residual_and_no_part_in_text(method: MethodName) -> None:
    code, scales = coded(method, deltas(N, ROWS, COLUMNS), scaled=True)
    assert code.masks is not None
    assert scales is not None
    residual = deltas(ROWS, COLUMNS, seed=1, kind="sparse")
    for policy in ("merged", "mean", "union"):
        found = steps(code.shared, code.masks, scales, N, policy, {N - 1: residual.to_sparse()}, N - 1)
        assert torch.equal(found[N - 1].delta(), code.delta(N - 1, scales[N - 1]) + residual)
        assert torch.equal(found[0].delta(), code.delta(0, scales[0]))
        without = steps(code.shared, code.masks[:-1], scales[:-1], N - 1, policy)
        assert torch.equal(found[TEXT].delta(), without[TEXT].delta())
        alone = steps(code.shared, code.masks[-1:], scales[-1:], 1, policy, {0: residual.to_sparse()}, 0)
        assert alone[TEXT].delta().any()


def test_unsigned_masks_share_one_vector() -> None:
    """Modalities cost a bit an entry each, not a copy of the vector."""
    shared = torch.randn(ROWS, COLUMNS)
    found = steps(shared, torch.rand(N, ROWS, COLUMNS) > 0.5, None, N, "union")
    assert {step.tau.data_ptr() for step in found.values()} == {shared.data_ptr()}
    assert all(step.mask.nbytes == -(-ROWS * COLUMNS // 8) for step in found.values())


def test_weights_under_each_modality() -> None:
    base, mask = torch.tensor([[-0.0, 1.0]]), torch.tensor([[False, True]])
    step = Step(torch.tensor([[5.0, 0.25]]), pack_mask(mask))
    weights = Weights({0: step}, {1: torch.tensor([[7.0, 7.0]])}, {2: torch.tensor([[3.0, 4.0]])})
    assert weights.of(0, base).tolist() == [[0, 1.25]]
    assert weights.of(0, base).signbit().tolist() == [[True, False]]  # the base's bits where nothing is added
    assert weights.of(1, base).tolist() == [[7, 7]]
    assert weights.of(2, base).tolist() == [[0, 1], [3, 4]]
    assert weights.of(3, base).data_ptr() == base.data_ptr()
    assert [weights.changed(i) for i in range(4)] == [True, True, True, False]


def test_sums_are_rounded_as_the_base_is_stored() -> None:
    base = torch.tensor([[1.0]])
    step = Step(torch.tensor([[0.001]]), pack_mask(torch.tensor([[True]])))
    assert Weights({0: step}).of(0, base).item() == pytest.approx(1.001)
    assert Weights({0: step}, stored=torch.bfloat16).of(0, base).item() == 1.0
