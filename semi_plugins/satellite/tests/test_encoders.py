"""The three encoders; CLIP's vision tower on tiny random weights (tests of semi-plugin-image try all its layouts)."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from semi.errors import InputError, PairsError
from semi.modality import Encoder
from semi_plugin_image.assets import EFFICIENTNET
from semi_plugin_image.clip import MEAN, STD
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from semi_plugin_satellite.modality import Satellite
from semi_plugin_satellite.pictures import as_pixels
from semi_plugin_satellite.remoteclip import FILE, HUB, load_clip
from semi_plugin_satellite.texture import N_PATTERNS, SIDE, WIDTH, Texture, statistics

needs_weights = pytest.mark.skipif(not EFFICIENTNET.present(), reason="run: semi fetch efficientnet-lite0-weights")


def tiny() -> CLIPVisionModelWithProjection:
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


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model as transformers saves it."""
    folder = tmp_path_factory.mktemp("clip")
    tiny().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module", params=["efficientnet-lite0", "texture", "remoteclip"])
def encoder(request: pytest.FixtureRequest, clip_folder: Path) -> Encoder:
    if request.param == "efficientnet-lite0" and not EFFICIENTNET.present():
        pytest.skip("run: semi fetch efficientnet-lite0-weights")
    return Satellite().encoder(f"remoteclip:{clip_folder}" if request.param == "remoteclip" else request.param)


@pytest.mark.assets
def test_a_scene_does_not_feel_its_batch_nor_other_threads(encoder: Encoder, scenes: Sequence[Path]) -> None:
    together = encoder.encode(scenes)
    assert together.shape == (3, encoder.width)
    assert together.dtype == np.float32
    assert np.isfinite(together).all()
    assert np.ptp(together, axis=0).max() > 0.01
    alone = np.concatenate([encoder.encode([file]) for file in reversed(scenes)])[::-1]
    np.testing.assert_array_equal(together, alone)
    with ThreadPoolExecutor(3) as pool:
        for rows in pool.map(encoder.encode, [scenes] * 3):
            np.testing.assert_array_equal(rows, together)
    assert encoder.encode([]).shape == (0, encoder.width)


@pytest.mark.assets
def test_what_cannot_be_read_is_named(encoder: Encoder, scenes: Sequence[Path]) -> None:
    with pytest.raises(PairsError, match="does not exist"):
        encoder.encode([scenes[0], "gone.png"])


@pytest.mark.assets
@needs_weights
def test_default_is_the_network_of_1280(scenes: Sequence[Path]) -> None:
    encoder = Satellite().encoder()
    assert (encoder.id, encoder.width) == ("satellite/efficientnet-lite0@1", 1280)
    from semi_plugin_image.modality import ImageModality

    np.testing.assert_allclose(encoder.encode(scenes), ImageModality().encoder().encode(scenes), atol=1e-5)


def test_statistics_tell_what_they_are_named_after(scenes: Sequence[Path]) -> None:
    forest, fields, coast = (statistics(as_pixels(scene, SIDE)) for scene in scenes)
    greenness = 72 + 3 * N_PATTERNS + 4
    assert forest[greenness] > 0.2 > coast[greenness]
    edges = slice(72 + 3 * N_PATTERNS + 18, 72 + 3 * N_PATTERNS + 26)
    assert fields[edges].max() > 0.9 > 0.3 > forest[edges].max()  # stripes have one direction, noise has none
    assert coast[-1] > 0.4 > 0.01 > forest[-1]  # dark blue
    assert np.sum(coast[:72] ** 2) == pytest.approx(1)


def test_patterns_do_not_feel_a_quarter_turn(scenes: Sequence[Path]) -> None:
    pixels = as_pixels(scenes[0], SIDE)
    patterns = slice(72, 72 + 3 * N_PATTERNS)
    np.testing.assert_allclose(statistics(pixels)[patterns], statistics(np.rot90(pixels))[patterns], atol=1e-9)


def test_statistics_of_nothing_are_finite() -> None:
    for value in (0.0, 1.0):
        assert np.isfinite(statistics(np.full((SIDE, SIDE, 3), value, np.float32))).all()
    assert (Texture().width, WIDTH, N_PATTERNS) == (217, 217, 36)


def test_embeddings_are_those_of_the_model(clip_folder: Path, scenes: Sequence[Path]) -> None:
    model = CLIPVisionModelWithProjection.from_pretrained(clip_folder).eval()
    image = Image.open(scenes[2]).resize((32, 32), Image.Resampling.BICUBIC)
    pixels = (np.asarray(image, np.float32) / 255 - MEAN) / STD
    with torch.inference_mode():
        expected = model(pixel_values=torch.tensor(pixels).permute(2, 0, 1)[None]).image_embeds.numpy()
    np.testing.assert_allclose(load_clip(str(clip_folder)).encode([scenes[2]]), expected, atol=1e-5)


def test_hub_that_cannot_be_reached_says_what_else_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(source: str, file: str) -> str:
        assert file == FILE
        raise OSError(f"{source} is out of reach")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", offline)
    with pytest.raises(InputError, match=re.escape(HUB)) as error:
        Satellite().encoder("remoteclip")
    assert "remoteclip:PATH" in str(error.value)


def test_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(InputError) as error:
        load_clip("anything")
    assert "semi-plugin-satellite[hub]" in str(error.value)


@pytest.mark.parametrize("name", ["vgg", "texture:x"])
def test_unknown_encoder_names_the_known(name: str) -> None:
    with pytest.raises(InputError, match="no such encoder") as error:
        Satellite().encoder(name)
    assert "remoteclip:FOLDER" in str(error.value)


def test_the_plugin_is_imported_without_torch() -> None:
    program = (
        "import sys, semi_plugin_satellite.plugin as p; p.semi_modality('satellite'); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
