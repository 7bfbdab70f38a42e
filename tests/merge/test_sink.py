"""Codes come back from the files as they went in, whatever their support, in the smaller of two forms."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from semi.merge import inventory, run
from semi.merge.artifact import Artifact
from semi.merge.run import run_merge
from tests.merge.conftest import UP, write_checkpoint
from tests.merge.merges import config_of


@pytest.mark.parametrize("zeros", [0, 1, 2, 3, 10, 50, 95, 96])
@pytest.mark.parametrize("method", ["task_arithmetic", "optimal", "ternary"])
def test_any_support_comes_back_in_the_smaller_form(
    zeros: int,
    method: str,
    base_folder: Path,
    base: dict[str, Tensor],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(inventory, "BLOCK", 17)  # two rows of 8
    monkeypatch.setattr(run, "BLOCK", 17)
    order = torch.randperm(96, generator=torch.Generator().manual_seed(zeros))
    shift = torch.linspace(0.25, 1, 96).index_fill(0, order[:zeros], 0)
    if zeros == 50:
        shift = torch.linspace(0.25, 1, 96).index_fill(0, torch.arange(50), 0)  # blocks without a value
    tune = base | {UP: base[UP] + shift.view(12, 8)}
    tau = tune[UP] - base[UP]
    models = {name: write_checkpoint(tmp_path / name, tune) for name in ("a", "b")}
    settings = config_of(base_folder, models, merge={"method": method})
    run_merge(settings, tmp_path / "out")
    kept = int((tau != 0).sum())
    packed = sum(-(-n // 8) for n in [16] * 6)
    with Artifact.open(tmp_path / "out") as artifact:
        assert artifact.entries[UP].codec == ("sparse" if kept < 96 and packed + 4 * kept < 4 * 96 else "dense")
        blocks = list(artifact.code(UP))
        shared = torch.cat([code.shared for _, code in blocks])
        assert torch.equal(shared != 0, tau != 0)
        for i, name in enumerate(artifact.models):
            delta = torch.cat([code.delta(i) for _, code in blocks])
            scales = artifact.scales(name, UP)
            whole = (2 if scales is None else 1) * tau  # the sum of both models, or each model's own
            torch.testing.assert_close(delta if scales is None else delta * scales[:, None], whole)
        if method != "task_arithmetic":
            assert set(artifact.entries[UP].masks.values()) == {"ones"}


def test_masks_of_some_models_only_are_those_of_all(
    base_folder: Path, tunes: dict[str, dict[str, Tensor]], tmp_path: Path
) -> None:
    models = {name: write_checkpoint(tmp_path / name, tensors) for name, tensors in tunes.items()}
    run_merge(config_of(base_folder, models, merge={"method": "ternary"}), tmp_path / "out")
    with Artifact.open(tmp_path / "out") as artifact:
        (_, whole), *_ = artifact.code(UP)
        (_, some), *_ = artifact.code(UP, ["audio", "text"])
    assert whole.masks is not None
    assert some.masks is not None
    assert torch.equal(some.masks, whole.masks[[2, 0]])
