"""TIES of mergekit and of PEFT, where they are installed, on float32 weights.

They differ from ours only in which of the entries that equal a threshold they keep: we keep the first, they those that
their sort leaves in front.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from semi.merge.codes import MethodSettings, encode
from semi.merge.trim import Magnitudes
from tests.merge.deltas import deltas

SHAPE = (300, 1000)


def ties(base: Tensor, models: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Our merged weights, trimmed per tensor as both oracles do, and where deltas tie at their threshold."""
    tau, kept = models - base, []
    tied = torch.zeros(SHAPE, dtype=torch.bool)
    for delta in tau:
        magnitudes = Magnitudes(share)
        magnitudes.count(delta)
        magnitudes.refine(delta)
        threshold = magnitudes.threshold()
        kept.append(threshold.keep(delta)[0])
        equal = delta.abs() == threshold.magnitude
        tied |= equal & (equal.sum() > 1)
    return base + encode(tau, torch.stack(kept), MethodSettings("ties", tie="plus")).shared, tied


def weights(count: int, *, coarse: bool) -> tuple[Tensor, Tensor]:
    """A base and models near it; coarse ones have been in bfloat16, so that many deltas are equal."""
    base = 0.02 * deltas(*SHAPE)
    models = base + 0.001 * deltas(count, *SHAPE, seed=1)
    return (base.bfloat16().float(), models.bfloat16().float()) if coarse else (base, models)


def differing(ours: Tensor, theirs: Tensor) -> Tensor:
    """Entries that differ by more than the rounding of a sum of a few: bool."""
    return ~torch.isclose(ours, theirs, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("coarse", [False, True], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("share", [0.2, 0.5, 1.0])
@pytest.mark.parametrize("count", [2, 3, 4])
def test_mergekit(count: int, share: float, coarse: bool) -> None:
    merging = pytest.importorskip("mergekit.merge_methods")
    base, models = weights(count, coarse=coarse)
    ours, tied = ties(base, models, share)
    settings = {"weight": 1.0, "density": share}
    wrong = differing(ours, merging.merge_tensors([base, *models], "ties", base_index=0, parameters=settings))
    assert not (wrong & ~tied).any()
    assert share < 1 or not wrong.any()


@pytest.mark.parametrize("coarse", [False, True], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("share", [0.2, 0.5])
@pytest.mark.parametrize("count", [2, 3, 4])
def test_peft_with_equal_weights(count: int, share: float, coarse: bool) -> None:
    merging = pytest.importorskip("peft.utils.merge_utils")
    base, models = weights(count, coarse=coarse)
    ours, tied = ties(base, models, share)
    theirs = base + merging.ties(list(models - base), torch.ones(count), share)
    assert not (differing(ours, theirs) & ~tied).any()
