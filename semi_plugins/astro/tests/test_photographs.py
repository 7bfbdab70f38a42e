"""Picture files and FITS, and the modality's checks."""

from __future__ import annotations

import base64
import io
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from semi.errors import InputError, PairsError
from semi.pairs import Pair
from semi.pairs_io import read_pairs, write_pairs

from semi_plugin_astro import plugin
from semi_plugin_astro.modality import Astro
from semi_plugin_astro.photographs import as_pixels, open_photograph, squared


def write_fits(path: Path, data: np.ndarray | None, *, first: np.ndarray | None = None) -> Path:
    """A FITS file with `data` as its primary image, or as an extension behind `first`."""
    fits = pytest.importorskip("astropy.io.fits")
    if first is None:
        fits.writeto(path, data)
    else:
        fits.HDUList([fits.PrimaryHDU(first), fits.ImageHDU(data)]).writeto(path)
    return path


def source(side: int = 40) -> np.ndarray:
    """A bright spot near the lower left corner (FITS rows go up) on a sky of 1000 counts, float32."""
    rows, columns = np.mgrid[:side, :side]
    return (1000 + 5e4 * np.exp(-((rows - 8) ** 2 + (columns - 12) ** 2) / 8)).astype(np.float32)


def test_around_a_photograph_it_is_dark() -> None:
    square = np.asarray(squared(Image.new("RGB", (40, 20), "white"), 80))
    assert square.shape == (80, 80, 3)
    assert (square[:18] == 0).all()
    assert (square[40] == 255).all()


def test_fits_is_stretched_and_upright(tmp_path: Path) -> None:
    pixels = as_pixels(write_fits(tmp_path / "a.fits", source()), 40)
    assert pixels[31, 12].min() == 1.0  # row 8 from below
    assert np.median(pixels) == 0.0
    assert (np.ptp(pixels, axis=-1) == 0).all()  # grey
    faint = pixels[31 - 5, 12, 0]  # exp(-25 / 8) = 4 % of the peak: linear would be 0.04
    assert 0.1 < faint < 0.6


def test_fits_of_three_planes_is_in_colour(tmp_path: Path) -> None:
    sky = np.zeros_like(source())
    red = as_pixels(write_fits(tmp_path / "a.fit", np.stack([source(), sky, sky])), 40)
    assert red[31, 12, 0] == 1.0
    assert red[..., 1:].max() == 0.0


def test_integers_extensions_gaps_and_gzip(tmp_path: Path) -> None:
    counts = source().astype(np.int32)
    plain = as_pixels(write_fits(tmp_path / "a.fits", counts), 40)
    behind = as_pixels(write_fits(tmp_path / "b.fits.gz", counts, first=np.zeros((4, 5, 6, 7), np.int16)), 40)
    np.testing.assert_array_equal(plain, behind)
    holed = source()
    holed[30, 30], holed[2, 2] = np.nan, np.inf
    gaps = as_pixels(write_fits(tmp_path / "c.fits", holed), 40)
    assert np.isfinite(gaps).all()
    assert gaps[9, 30].max() == 0.0


def test_flat_fits_is_black_and_empty_ones_are_refused(tmp_path: Path) -> None:
    assert as_pixels(write_fits(tmp_path / "flat.fits", np.full((8, 8), 7.0)), 8).max() == 0.0
    with pytest.raises(PairsError, match="holds no numbers"):
        open_photograph(write_fits(tmp_path / "nan.fits", np.full((8, 8), np.nan)))
    with pytest.raises(PairsError, match="holds no picture") as error:
        open_photograph(write_fits(tmp_path / "cube.fits", np.zeros((5, 8, 8))))
    assert "(5, 8, 8)" in str(error.value)


def test_missing_and_damaged_fits_are_named(tmp_path: Path) -> None:
    whole = write_fits(tmp_path / "whole.fits", source())
    (tmp_path / "cut.fits").write_bytes(whole.read_bytes()[:4000])
    (tmp_path / "text.fits").write_text("not FITS")
    for name in ("missing.fits", "cut.fits", "text.fits"):
        with pytest.raises(PairsError) as error:
            Astro().parse(name, folder=tmp_path)
        assert str(tmp_path / name) in str(error.value)


def test_without_astropy_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "astropy.io.fits", None)
    with pytest.raises(InputError, match="astropy is not installed") as error:
        Astro().parse(tmp_path / "a.fits")
    assert "semi-plugin-astro[fits]" in str(error.value)


def test_path_is_relative_to_the_pairs_file_and_hashed_by_content(tmp_path: Path) -> None:
    Image.new("RGB", (9, 9), "red").save(tmp_path / "a.png")
    assert Astro().parse("a.png", folder=tmp_path) == tmp_path / "a.png"
    write_pairs(tmp_path / "pairs.jsonl", [Pair(tmp_path / "a.png", "a red field")])
    before = read_pairs(tmp_path / "pairs.jsonl", modality=Astro()).sha256
    Image.new("RGB", (9, 9), "blue").save(tmp_path / "a.png")
    assert read_pairs(tmp_path / "pairs.jsonl", modality=Astro()).sha256 != before


@pytest.mark.parametrize("sample", ["", None, 7, ["a.png"]], ids=repr)
def test_what_is_not_a_path_is_refused(sample: object) -> None:
    with pytest.raises(PairsError, match="not a path"):
        Astro().parse(sample)


def test_drawing_is_self_contained(tmp_path: Path) -> None:
    Image.new("RGB", (400, 200), "navy").save(tmp_path / 'a"<b.png')
    drawing = Astro().draw(tmp_path / 'a"<b.png')
    assert drawing.startswith('<img alt="a&quot;&lt;b.png" src="data:image/png;base64,')
    data = base64.b64decode(drawing.split("base64,")[1].split('"')[0])
    assert Image.open(io.BytesIO(data)).size == (128, 64)


def test_hooks_answer_to_their_names_only() -> None:
    modality, data = plugin.semi_modality("astro"), plugin.semi_dataset("deep-sky")
    assert modality is not None
    assert data is not None
    assert (modality.name, data.name, data.modality) == ("astro", "deep-sky", "astro")
    assert plugin.semi_modality("deep-sky") is None
    assert plugin.semi_dataset("astro") is None
