"""A stored vector comes back as said, and comes back of itself exactly."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from semi.merge import inventory, lossy, run
from semi.merge.artifact import Artifact
from semi.merge.codes import MethodSettings, encode, masks_on
from semi.merge.lossy import FORMS, GROUP, absmax, rounded
from semi.merge.methods import METHODS, Tau
from semi.merge.run import run_merge
from semi_kernels.weights.nf4 import LEVELS, NF4Weight
from tests.merge.conftest import write_checkpoint
from tests.merge.deltas import deltas
from tests.merge.merges import config_of

TAUS: list[Tau] = ["fp32", "bf16", "nf4"]


@st.composite
def vectors(draw: st.DrawFn) -> Tensor:
    """(n,), of very different magnitudes, some of them or whole groups zero."""
    n, seed = draw(st.integers(1, 300)), draw(st.integers(0, 9999))
    vector = deltas(n, seed=seed, kind=draw(st.sampled_from(["gaussian", "coarse", "sparse"])))
    vector *= 10.0 ** draw(st.integers(-42, 30))
    vector[draw(st.integers(0, n)) :] = 0
    return vector


@pytest.mark.parametrize("tau", TAUS)
@settings(max_examples=60)
@given(vector=vectors())
def test_what_comes_back_comes_back_of_itself(tau: Tau, vector: Tensor) -> None:
    back = rounded(vector, tau)
    assert torch.equal(rounded(back, tau).view(torch.int32), back.view(torch.int32))
    assert not back[vector == 0].any()


@pytest.mark.parametrize("tau", TAUS)
@settings(max_examples=60)
@given(vector=vectors())
def test_elements_lie_in_a_file_and_come_back(tau: Tau, vector: Tensor) -> None:
    form, back = FORMS[tau], rounded(vector, tau)
    elements = form.elements(back)
    data = bytes(form.pack(elements))
    assert len(data) == form.nbytes(len(vector))
    assert np.array_equal(form.unpack(data, len(vector)), elements)
    assert (elements[back.numpy() == 0] == form.zero).all() or tau != "nf4"
    if tau == "nf4":
        found = lossy.dequantise(torch.from_numpy(elements), absmax(back))
        assert torch.equal(found, back)


@settings(max_examples=60)
@given(vector=vectors())
def test_nf4_takes_the_nearest_level_of_each_group(vector: Tensor) -> None:
    back = rounded(vector, "nf4")
    for group, found in zip(vector.split(GROUP), back.split(GROUP), strict=True):
        if group.abs().max() < torch.finfo(torch.bfloat16).tiny:
            assert not found.any()
            continue
        largest = group.abs().max().bfloat16().double()
        levels = torch.tensor(LEVELS, dtype=torch.float64) * largest
        nearest = (group.double()[:, None] - levels).abs().amin(1)
        left = (group.double() - found.double()).abs()
        assert (left <= nearest + 1e-6 * float(largest) + 1e-44).all()


def test_nf4_is_as_near_as_that_of_weights() -> None:
    """The scales differ: bfloat16 here, 8 bits of nested scales there."""
    vector = deltas(64, 640)
    ours = (rounded(vector.view(-1), "nf4") - vector.view(-1)).square().sum()
    weights = (NF4Weight.from_float(vector, nested=False).dequantize() - vector).square().sum()
    assert float(ours / weights) == pytest.approx(1, abs=0.01)
    assert float(ours / vector.square().sum()) == pytest.approx(0.0086, abs=0.0005)


def test_tiles_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    vector = deltas(1000)
    whole = rounded(vector, "nf4")
    monkeypatch.setattr(lossy, "_TILE", 2 * GROUP)
    assert torch.equal(rounded(vector, "nf4"), whole)


@pytest.mark.parametrize("method", ["ties", "mmer", "optimal", "ternary", "emr"])
@pytest.mark.parametrize("tau", ["bf16", "nf4"])
def test_masks_are_made_for_what_is_stored(method: Any, tau: Tau) -> None:
    deltas_, rms = deltas(3, 30, 70), None
    if METHODS[method].normalised:
        rms = deltas_.double().square().mean((1, 2)).sqrt()
    exact = encode(deltas_, None, MethodSettings(method), rms)
    code = encode(deltas_, None, MethodSettings(method, tau=tau), rms)
    assert torch.equal(code.shared.view(-1), rounded(exact.shared.view(-1), tau))
    if code.masks is None:
        return
    rule = METHODS[method].mask
    assert rule is not None
    assert torch.equal(code.masks, masks_on(deltas_, code.shared, torch.ones(3), rms, rule))
    assert not code.masks[:, code.shared == 0].any()


@pytest.mark.parametrize("block", [2**22, 40])
@pytest.mark.parametrize("tau", ["bf16", "nf4"])
@pytest.mark.parametrize("method", ["mmer", "optimal", "ternary", "task_arithmetic"])
def test_an_artifact_holds_the_rounded_vector_and_says_what_that_loses(
    method: str,
    tau: Tau,
    block: int,
    base_folder: Path,
    tunes: dict[str, dict[str, Tensor]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    monkeypatch.setattr(inventory, "BLOCK", block)
    monkeypatch.setattr(run, "BLOCK", block)
    models = {name: write_checkpoint(tmp_path / name, tensors) for name, tensors in tunes.items()}
    exact = run_merge(config_of(base_folder, models, merge={"method": method}), tmp_path / "exact")
    info = run_merge(config_of(base_folder, models, merge={"method": method, "tau": tau}), tmp_path / "out")
    assert "lossless" not in exact
    for name, figures in exact["certificate"]["models"].items():
        before, after = info["lossless"]["models"][name], info["certificate"]["models"][name]
        assert before["residual"] == pytest.approx(figures["residual"], rel=1e-12)
        assert after["residual"] != before["residual"]
    with Artifact.open(tmp_path / "exact") as one, Artifact.open(tmp_path / "out") as other:
        assert other.tau == tau
        codecs = set()
        for key, entry in other.entries.items():
            if entry.codec is None:
                continue
            codecs.add(entry.codec)
            for (rows, vector), (same, stored) in zip(one.shared(key), other.shared(key), strict=True):
                assert rows == same
                assert torch.equal(stored.view(-1), rounded(vector.view(-1), tau))
        assert codecs == ({"sparse"} if method == "mmer" else {"dense"})
        size = sum(path.stat().st_size for path in (tmp_path / "out").glob("shared-*"))
        assert size < sum(path.stat().st_size for path in (tmp_path / "exact").glob("shared-*"))


def test_a_vector_that_is_nearly_dense_is_stored_without_a_support(
    base_folder: Path, base: dict[str, Tensor], tmp_path: Path
) -> None:
    """Its zeros are levels then; of a sparse one, the levels that are not stored."""
    key = "model.layers.0.mlp.up_proj.weight"
    for zeros, codec in ((3, "dense"), (90, "sparse")):
        shift = torch.linspace(-1, 1, 96).index_fill(0, torch.arange(zeros), 0)
        tune = {"a": write_checkpoint(tmp_path / f"tune-{zeros}", base | {key: base[key] + shift.view(12, 8)})}
        run_merge(config_of(base_folder, tune, merge={"method": "tall", "tau": "nf4"}), tmp_path / f"out-{zeros}")
        with Artifact.open(tmp_path / f"out-{zeros}") as artifact:
            assert artifact.entries[key].codec == codec
            [(_, stored)] = artifact.shared(key)
            assert torch.equal(stored.view(-1), rounded((base[key] + shift.view(12, 8) - base[key]).view(-1), "nf4"))
