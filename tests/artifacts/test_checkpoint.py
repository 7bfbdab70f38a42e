from __future__ import annotations

from pathlib import Path

import pytest
import torch

from semi.artifacts import Checkpoint, save_tensors
from semi.errors import ArtifactError


def test_the_last_save_comes_back(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path)
    assert checkpoint.load() is None
    state = {"best": float("inf"), "losses": [1.5, 0.25], "seed": 2**100}
    random_state = torch.random.get_rng_state()
    for step in (1, 2):
        checkpoint.save(step, {"w": torch.full((2,), float(step)), "random": random_state}, state)
    loaded = checkpoint.load()
    assert loaded is not None
    step, tensors, read = loaded
    assert (step, read) == (2, state)
    assert torch.equal(tensors["w"], torch.full((2,), 2.0))
    assert torch.equal(tensors["random"], random_state)
    assert list(tmp_path.iterdir()) == [checkpoint.path]


def test_another_tensor_file_is_no_checkpoint(tmp_path: Path) -> None:
    save_tensors(tmp_path / "checkpoint.safetensors", {"w": torch.ones(1)}, {"semi": "{}"})
    with pytest.raises(ArtifactError, match="not a checkpoint"):
        Checkpoint(tmp_path).load()
