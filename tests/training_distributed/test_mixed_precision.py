"""`mixed_precision: bf16` rounds what is computed, not what is kept, fitted or validated."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from semi.artifacts import load_tensors
from semi.training.run import run_hypernetwork, run_projector

FEW = ("schedule.steps=3", "schedule.validate_every=1")


def test_losses_are_those_of_fp32_but_for_rounding(recipes: tuple[Path, Path], tmp_path: Path) -> None:
    projector, hypernetwork = recipes
    plain = run_projector(projector, tmp_path / "runs" / "projector", changes=FEW)
    mixed = run_projector(projector, tmp_path / "mixed", changes=[*FEW, "mixed_precision=bf16"])
    # Before the first step: the same weights, validated in fp32 by both.
    assert mixed.validations[0] == plain.validations[0]
    first, rounded = plain.steps[0]["loss"], mixed.steps[0]["loss"]
    assert rounded != first
    assert rounded == pytest.approx(first, rel=0.02)
    kept = load_tensors(tmp_path / "mixed" / "projector.safetensors")
    assert {tensor.dtype for tensor in kept.values()} == {torch.float32}

    for loss in ("caption", "distillation"):
        changes = [*FEW, f"loss={loss}"]
        first = run_hypernetwork(hypernetwork, tmp_path / loss, changes=changes).steps[0]["loss"]
        changes.append("mixed_precision=bf16")
        rounded = run_hypernetwork(hypernetwork, tmp_path / f"{loss}-mixed", changes=changes).steps[0]["loss"]
        assert rounded != first
        assert rounded == pytest.approx(first, rel=0.02)
