"""Small clips, made here, and a small model of the kind that the hub has."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import XCLIPConfig, XCLIPModel

FPS = 10


@pytest.fixture(scope="session")
def frames() -> np.ndarray:
    """(10, 32, 48, 3), uint8: a red block that moves 4 pixels to the right a frame, on white."""
    clip = np.full((10, 32, 48, 3), 255, np.uint8)
    for time in range(10):
        clip[time, 12:20, 4 * time : 4 * time + 8] = (200, 30, 30)
    return clip


@pytest.fixture(scope="session")
def folder(frames: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The clip as frame-1.png to frame-10.png."""
    path = tmp_path_factory.mktemp("frames")
    for number, frame in enumerate(frames, start=1):
        Image.fromarray(frame).save(path / f"frame-{number}.png")
    return path


@pytest.fixture(scope="session")
def animations(frames: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The clip as GIF, APNG and WebP, 100 ms a frame."""
    path = tmp_path_factory.mktemp("animations")
    first, *rest = map(Image.fromarray, frames)
    options: dict[str, dict[str, object]] = {"gif": {}, "png": {}, "webp": {"lossless": True}}
    for name, more in options.items():
        first.save(path / f"clip.{name}", save_all=True, append_images=rest, duration=1000 // FPS, loop=0, **more)
    return {name: path / f"clip.{name}" for name in options}


@pytest.fixture(scope="session")
def xclip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random X-CLIP: 2 layers, 4 frames of 32 x 32 pixels, 24 wide at the end, as transformers saves it."""
    torch.manual_seed(0)
    small = {"intermediate_size": 32, "num_attention_heads": 2}
    text = {"hidden_size": 32, "num_hidden_layers": 1, "vocab_size": 9, "projection_dim": 24, **small}
    vision = {
        "hidden_size": 32, "num_hidden_layers": 2, "image_size": 32, "patch_size": 8, "num_frames": 4,
        "mit_hidden_size": 24, "mit_intermediate_size": 32, "mit_num_hidden_layers": 1, "mit_num_attention_heads": 2,
        "projection_dim": 24, **small,
    }  # fmt: skip
    config = XCLIPConfig(
        text_config={**text, "bos_token_id": 1, "eos_token_id": 2}, vision_config=vision, projection_dim=24,
        prompt_layers=1, prompt_num_attention_heads=2,
    )  # fmt: skip
    model = XCLIPModel(config).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, 0.0, 0.2)
    path = tmp_path_factory.mktemp("xclip")
    model.save_pretrained(path)
    return path
