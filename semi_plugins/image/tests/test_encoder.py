"""The picture encoder on its real weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from semi.errors import PairsError
from semi.modality import Encoder

from semi_plugin_image.assets import EFFICIENTNET
from semi_plugin_image.encoder import preprocess
from semi_plugin_image.modality import ImageModality

needs_weights = pytest.mark.skipif(not EFFICIENTNET.present(), reason="run: semi fetch efficientnet-lite0-weights")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A disc on white, the disc a little smaller, and stripes."""
    folder, rows, columns = tmp_path_factory.mktemp("pictures"), *np.mgrid[:96, :96]
    for name, dark in {
        "disc": np.hypot(rows - 48, columns - 48) < 30,
        "smaller": np.hypot(rows - 48, columns - 48) < 27,
        "stripes": columns % 12 < 6,
    }.items():
        Image.fromarray(np.where(dark, 40, 255).astype(np.uint8)).save(folder / f"{name}.png")
    return [str(folder / f"{name}.png") for name in ("disc", "smaller", "stripes")]


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return ImageModality().encoder()


def test_preprocessing(tmp_path: Path) -> None:
    Image.new("RGB", (10, 10), (255, 0, 127)).save(tmp_path / "a.png")
    pixels = preprocess(tmp_path / "a.png")
    assert pixels.shape == (3, 224, 224)
    np.testing.assert_allclose(pixels[:, 100, 100], [1.0, -0.498 / 0.502, (127 / 255 - 0.498) / 0.502], atol=1e-6)


@pytest.mark.assets
@needs_weights
def test_the_published_file_is_read_once(encoder: Encoder, files: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "load", None)
    np.testing.assert_array_equal(ImageModality().encoder().encode(files), encoder.encode(files))


@pytest.mark.assets
@needs_weights
def test_alike_is_near(encoder: Encoder, files: list[str]) -> None:
    disc, smaller, stripes = encoder.encode(files)
    assert np.linalg.norm(disc - smaller) < 0.5 * np.linalg.norm(disc - stripes)


@pytest.mark.assets
@needs_weights
def test_a_picture_does_not_feel_its_batch(encoder: Encoder, files: list[str]) -> None:
    together = encoder.encode(files)
    assert together.dtype == np.float32
    np.testing.assert_array_equal(together, np.concatenate([encoder.encode([file]) for file in files]))
    assert encoder.encode([]).shape == (0, encoder.width)


@pytest.mark.assets
@needs_weights
def test_grid_is_row_by_row_and_its_mean_is_the_vector(encoder: Encoder, files: list[str], tmp_path: Path) -> None:
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
def test_unreadable_picture_is_named(encoder: Encoder, files: list[str]) -> None:
    with pytest.raises(PairsError, match="does not exist"):
        encoder.encode([files[0], "gone.png"])
