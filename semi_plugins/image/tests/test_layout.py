"""The encoder "layout" on small generated pictures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from semi.testing import ModalityConformance

from semi_plugin_image.layout import SIDE, hu_moments, layout, statistics
from semi_plugin_image.modality import ImageModality
from semi_plugin_image.shared import Standardised, fit

CELLS, EDGES, OUTLINE = 108, 108 + 288, 448 - 25


def board(*blocks: tuple[int, int, int, int]) -> np.ndarray:
    """Black blocks (top, left, bottom, right) on white, (96, 96, 3)."""
    pixels = np.ones((SIDE, SIDE, 3))
    for top, left, bottom, right in blocks:
        pixels[top:bottom, left:right] = 0
    return pixels


def test_statistics_tell_what_they_are_named_after() -> None:
    found = statistics(board((0, 0, 16, 16)))
    assert found.shape == (448,)
    np.testing.assert_array_equal(found[:3], 0)  # the first cell is black
    np.testing.assert_array_equal(found[3:CELLS], 1)
    striped = np.ones((SIDE, SIDE, 3))
    striped[:, ::8] = 0
    directions = (statistics(striped)[CELLS:EDGES] ** 2).reshape(36, 8).sum(0)
    assert directions[0] > 0.9  # light changes to the right only
    histogram = statistics(board())[EDGES:OUTLINE]
    assert (histogram[-1], histogram[:-1].max()) == (1, 0)
    area, row, column, height, width, filled = statistics(board((24, 12, 48, 60)))[OUTLINE:][:6]
    np.testing.assert_allclose([area, height, width, filled], [0.125, 0.25, 0.5, 1])
    np.testing.assert_allclose([row, column], [35.5 / SIDE, 35.5 / SIDE])


def test_statistics_of_nothing_are_finite() -> None:
    for value in (0.0, 1.0):
        assert np.isfinite(statistics(np.full((SIDE, SIDE, 3), value))).all()


def test_hu_moments_feel_neither_turn_nor_size() -> None:
    rows, columns = np.nonzero(board((10, 10, 60, 30), (40, 30, 60, 50))[..., 0] == 0)
    down, right = (rows - rows.mean()) / SIDE, (columns - columns.mean()) / SIDE
    expected = hu_moments(down, right)
    np.testing.assert_allclose(hu_moments(right, -down), expected, atol=1e-9)
    doubled = [np.add.outer(2 * axis, np.array([-0.25, 0.25]) / SIDE) for axis in (down, right)]
    points = [
        np.broadcast_to(doubled[0][:, :, None], (len(rows), 2, 2)).ravel(),
        np.broadcast_to(doubled[1][:, None, :], (len(rows), 2, 2)).ravel(),
    ]
    np.testing.assert_allclose(hu_moments(*points), expected, rtol=0.02, atol=0.02)


def test_constants_centre_and_scale(tmp_path: Path) -> None:
    fit(lambda sample: np.array([sample, 7.0]), [1.0, 3.0], "two numbers", tmp_path / "constants.json")
    assert json.loads((tmp_path / "constants.json").read_text("utf-8"))["deviation"] == [1.0, 0.01]
    encoder = Standardised("a/b@1", lambda sample: np.array([sample, 7.0]), tmp_path / "constants.json")
    rows = encoder.encode([1.0, 3.0, 100.0])
    np.testing.assert_allclose(rows, [[-1, 0], [1, 0], [3, 0]])  # cut at three deviations
    assert (rows.dtype, encoder.width, encoder.encode([]).shape) == (np.float32, 2, (0, 2))


def test_shapes_differ_more_than_sizes(files: list[Path]) -> None:
    disc, smaller, stripes = layout().encode(files)
    assert np.linalg.norm(disc - smaller) < 0.7 * np.linalg.norm(disc - stripes)


class TestLayout(ModalityConformance):
    modality = ImageModality()
    encoder = "layout"

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _files(cls, files: list[Path], tmp_path_factory: pytest.TempPathFactory) -> None:
        text = tmp_path_factory.mktemp("no-picture") / "a.png"
        text.write_text("not a picture", "utf-8")
        small = Image.new("RGB", (1, 1))
        small.save(text.with_name("dot.png"))
        cls.samples, cls.refused = [*files, text.with_name("dot.png")], (text,)
