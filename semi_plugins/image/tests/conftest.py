"""Three small pictures, and a small model of the kind that the hub has."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A disc on white, the disc a little smaller, and stripes."""
    folder, rows, columns = tmp_path_factory.mktemp("pictures"), *np.mgrid[:96, :96]
    for name, dark in {
        "disc": np.hypot(rows - 48, columns - 48) < 30,
        "smaller": np.hypot(rows - 48, columns - 48) < 27,
        "stripes": columns % 12 < 6,
    }.items():
        Image.fromarray(np.where(dark, 40, 255).astype(np.uint8)).save(folder / f"{name}.png")
    return [folder / f"{name}.png" for name in ("disc", "smaller", "stripes")]


@pytest.fixture(scope="session")
def clip() -> CLIPVisionModelWithProjection:
    """A random vision tower: 2 layers of 128, 4 x 4 patches of 8 pixels, 24 wide at the end."""
    torch.manual_seed(0)
    config = CLIPVisionConfig(
        hidden_size=128, intermediate_size=96, projection_dim=24, num_hidden_layers=2, num_attention_heads=2,
        image_size=32, patch_size=8, hidden_act="gelu",
    )  # fmt: skip
    model = CLIPVisionModelWithProjection(config).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, 0.0, 0.2)
    return model


@pytest.fixture(scope="session")
def clip_folder(clip: CLIPVisionModelWithProjection, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model as transformers saves it."""
    folder = tmp_path_factory.mktemp("clip")
    clip.save_pretrained(folder)
    return folder
