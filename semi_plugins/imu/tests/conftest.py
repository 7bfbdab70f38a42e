"""A small movement, and a small model of the kind that the hub has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import PatchTSTConfig, PatchTSTModel


@pytest.fixture(scope="session")
def movement() -> np.ndarray:
    """(200, 6), float64: four seconds at 50 Hz of an arm that swings, in m/s^2 and rad/s."""
    time = np.arange(200) / 50
    swing = np.sin(2 * np.pi * 0.8 * time)
    noise = np.random.default_rng(0).normal(0, 0.05, (200, 6))
    axes = (9.7 + swing, 1.5 * swing, 0.3 * np.cos(5 * time), 2 * swing, 0.2 * swing, np.cos(5 * time))
    return np.stack(axes, axis=1) + noise


@pytest.fixture(scope="session")
def sample(movement: np.ndarray) -> dict[str, Any]:
    """The movement with its declarations."""
    return {"data": movement, "rate": 50, "units": "SI"}


@pytest.fixture(scope="session")
def patchtst(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A PatchTST of two layers with random weights."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("patchtst")
    config = PatchTSTConfig(
        num_input_channels=7, context_length=128, patch_length=16, patch_stride=16, d_model=8, num_hidden_layers=2,
        num_attention_heads=2, ffn_dim=16,
    )  # fmt: skip
    PatchTSTModel(config).save_pretrained(folder)
    return folder
