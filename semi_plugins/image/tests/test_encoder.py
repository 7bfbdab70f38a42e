"""The picture encoder on its real weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from semi.errors import AssetError, PairsError
from semi.modality import Encoder
from semi.testing import ModalityConformance

from semi_plugin_image.assets import EFFICIENTNET
from semi_plugin_image.encoder import preprocess
from semi_plugin_image.modality import ImageModality
from semi_plugin_image.shared import efficientnet_lite0

needs_weights = pytest.mark.skipif(not EFFICIENTNET.present(), reason="run: semi fetch efficientnet-lite0-weights")


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return ImageModality().encoder()


def test_preprocessing() -> None:
    pixels = preprocess(Image.new("RGB", (10, 10), (255, 0, 127)))
    assert pixels.shape == (3, 224, 224)
    np.testing.assert_allclose(pixels[:, 100, 100], [1.0, -0.498 / 0.502, (127 / 255 - 0.498) / 0.502], atol=1e-6)


@pytest.mark.assets
@needs_weights
def test_the_published_file_is_read_once(encoder: Encoder, files: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "load", None)
    np.testing.assert_array_equal(ImageModality().encoder().encode(files), encoder.encode(files))


@pytest.mark.assets
@needs_weights
def test_alike_is_near(encoder: Encoder, files: list[Path]) -> None:
    disc, smaller, stripes = encoder.encode(files)
    assert np.linalg.norm(disc - smaller) < 0.5 * np.linalg.norm(disc - stripes)


@pytest.mark.assets
@needs_weights
def test_a_picture_does_not_feel_its_batch(encoder: Encoder, files: list[Path]) -> None:
    together = encoder.encode(files)
    assert together.dtype == np.float32
    np.testing.assert_array_equal(together, np.concatenate([encoder.encode([file]) for file in files]))
    assert encoder.encode([]).shape == (0, encoder.width)


@pytest.mark.assets
@needs_weights
def test_grid_is_row_by_row_and_its_mean_is_the_vector(encoder: Encoder, files: list[Path], tmp_path: Path) -> None:
    grid = ImageModality().encoder("efficientnet-lite0-grid")
    assert grid.id != encoder.id
    np.testing.assert_allclose(grid.encode(files).mean(1), encoder.encode(files), atol=1e-5)
    empty, corner = Image.new("RGB", (224, 224), "white"), Image.new("RGB", (224, 224), "white")
    corner.paste("red", (160, 0, 224, 64))  # top right
    empty.save(tmp_path / "empty.png")
    corner.save(tmp_path / "corner.png")
    without, with_it = grid.encode([tmp_path / "empty.png", tmp_path / "corner.png"])
    change = np.abs(with_it - without).sum(1).reshape(7, 7)
    assert change[:4, 3:].sum() > 0.5 * change.sum()
    assert change[:4, 3:].sum() > 4 * change[4:, :3].sum()


@pytest.mark.assets
@needs_weights
def test_unreadable_picture_is_named(encoder: Encoder, files: list[Path]) -> None:
    with pytest.raises(PairsError, match="does not exist"):
        encoder.encode([files[0], "gone.png"])


@pytest.mark.assets
@needs_weights
def test_another_plugin_gives_it_pictures_of_its_own(encoder: Encoder) -> None:
    def flag(colours: tuple[str, str], side: int) -> Image.Image:
        image = Image.new("RGB", (side, side), colours[0])
        image.paste(colours[1], (0, 0, side // 2, side))
        return image

    flags = efficientnet_lite0("flags/efficientnet-lite0@1", flag)
    rows = flags.encode([("red", "blue"), ("red", "white")])
    assert (flags.id, flags.width, rows.shape) == ("flags/efficientnet-lite0@1", 1280, (2, 1280))
    assert np.ptp(rows, axis=0).max() > 0.1
    grid = efficientnet_lite0("flags/grid@1", flag, grid=True).encode([("red", "blue")])
    np.testing.assert_allclose(grid.mean(1), rows[:1], atol=1e-5)


def test_weights_that_were_not_fetched_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEMI_CACHE", str(tmp_path))
    with pytest.raises(AssetError, match="efficientnet-lite0-weights"):
        efficientnet_lite0("flags/efficientnet-lite0@1", lambda sample, side: sample)


@pytest.mark.assets
@needs_weights
class TestEfficientNet(ModalityConformance):
    modality = ImageModality()
    refused = ("gone.png", 7, ["a.png"])

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _files(cls, files: list[Path]) -> None:
        cls.samples = files
