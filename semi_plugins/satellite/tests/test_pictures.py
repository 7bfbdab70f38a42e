"""Picture files and GeoTIFF, and the modality's checks."""

from __future__ import annotations

import base64
import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from semi.errors import InputError, PairsError
from semi.pairs import Pair
from semi.pairs_io import read_pairs, write_pairs

from semi_plugin_satellite import plugin
from semi_plugin_satellite.geotiff import MAX_SIDE, needs_rasterio
from semi_plugin_satellite.modality import Satellite
from semi_plugin_satellite.pictures import open_scene, squared


def write_geotiff(path: Path, bands: np.ndarray, names: tuple[str, ...] = (), **profile: Any) -> Path:
    """Bands (n, h, w) with their descriptions, 10 metres a pixel."""
    rasterio = pytest.importorskip("rasterio")
    count, height, width = bands.shape
    place = rasterio.Affine(10, 0, 500_000, 0, -10, 5_000_000)
    shape = {"count": count, "height": height, "width": width, "dtype": bands.dtype}
    with rasterio.open(path, "w", driver="GTiff", crs="EPSG:32632", transform=place, **shape, **profile) as file:
        file.write(bands)
        for number, name in enumerate(names, start=1):
            file.set_band_description(number, name)
    return path


def ramp(count: int, dtype: type = np.uint16, side: int = 16) -> np.ndarray:
    """Bands (n, side, side): 1000 times their number, and brighter to the right."""
    columns = np.arange(side) * 50
    return np.stack([np.broadcast_to(1000 * n + columns, (side, side)) for n in range(1, count + 1)]).astype(dtype)


def pixels_of(path: Path) -> np.ndarray:
    return np.asarray(open_scene(path)).astype(int)


def test_around_a_scene_it_is_dark() -> None:
    square = np.asarray(squared(Image.new("RGB", (40, 20), "white"), 80))
    assert (square[:18] == 0).all()
    assert (square[40] == 255).all()


def test_plain_tiff_needs_no_rasterio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("RGB", (9, 9), (1, 2, 3)).save(tmp_path / "a.tif")
    monkeypatch.setitem(sys.modules, "rasterio", None)
    assert pixels_of(Satellite().parse("a.tif", folder=tmp_path))[0, 0].tolist() == [1, 2, 3]


def test_without_rasterio_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(np.arange(64, dtype=np.uint16).reshape(8, 8)).save(tmp_path / "a.tif")
    monkeypatch.setitem(sys.modules, "rasterio", None)
    with pytest.raises(InputError, match="rasterio is not installed") as error:
        Satellite().parse("a.tif", folder=tmp_path)
    assert "semi-plugin-satellite[geotiff]" in str(error.value)


@pytest.mark.parametrize("names", [("B02", "B03", "B04", "B08"), ("Blue", "Green", "Red", "NIR")], ids=lambda n: n[0])
def test_bands_are_found_by_description_and_stretched_together(names: tuple[str, ...], tmp_path: Path) -> None:
    scene = pixels_of(write_geotiff(tmp_path / "a.tif", ramp(4), names, photometric="MINISBLACK", compress="deflate"))
    red, green, blue = np.moveaxis(scene, -1, 0)
    assert (red > green).all()
    assert (green > blue).all()
    assert red.max() == 255
    assert blue.min() == 0
    assert red[0, 8] - green[0, 8] == pytest.approx(green[0, 8] - blue[0, 8], abs=2)


def test_three_bands_are_in_order_and_one_is_grey(tmp_path: Path) -> None:
    scene = pixels_of(write_geotiff(tmp_path / "a.tif", ramp(3, np.float32)))
    assert (scene[..., 0] < scene[..., 1]).all()
    grey = pixels_of(write_geotiff(tmp_path / "b.tif", ramp(1, np.int16)))
    assert (np.ptp(grey, axis=-1) == 0).all()
    assert grey.max() == 255


def test_bands_that_nobody_names_are_refused(tmp_path: Path) -> None:
    path = write_geotiff(tmp_path / "a.tif", ramp(7), photometric="MINISBLACK")
    with pytest.raises(PairsError, match="which of its bands") as error:
        Satellite().parse(path)
    assert "7 bands" in str(error.value)


def test_no_data_is_black_and_out_of_the_stretch(tmp_path: Path) -> None:
    bands = ramp(3)
    bands[:, :4] = 0
    with_gap = pixels_of(write_geotiff(tmp_path / "a.tif", bands, nodata=0))
    assert (with_gap[:4] == 0).all()
    assert with_gap[4:].max() == 255
    floats = ramp(3, np.float32)
    floats[:, :4] = np.nan
    np.testing.assert_array_equal(pixels_of(write_geotiff(tmp_path / "b.tif", floats)), with_gap)
    empty = write_geotiff(tmp_path / "c.tif", np.zeros((3, 8, 8), np.uint16), nodata=0)
    with pytest.raises(PairsError, match="holds no picture"):
        open_scene(empty)


def test_large_scenes_are_read_smaller(tmp_path: Path) -> None:
    wide = write_geotiff(tmp_path / "a.tif", np.ones((1, 10, 2 * MAX_SIDE), np.uint16))
    assert open_scene(wide).size == (MAX_SIDE, 5)


def test_missing_damaged_and_foreign_files_are_named(tmp_path: Path) -> None:
    whole = write_geotiff(tmp_path / "whole.tif", ramp(4), ("red", "green", "blue", "nir"))
    (tmp_path / "cut.tif").write_bytes(whole.read_bytes()[:300])
    (tmp_path / "text.tif").write_text("not a picture")
    assert needs_rasterio(tmp_path / "text.tif")
    for name in ("missing.tif", "missing.png", "cut.tif", "text.tif", "."):
        with pytest.raises(PairsError) as error:
            Satellite().parse(name, folder=tmp_path)
        assert str(tmp_path / name) in str(error.value)


def test_hash_of_pairs_is_that_of_the_pictures(tmp_path: Path) -> None:
    Image.new("RGB", (9, 9), "red").save(tmp_path / "a.png")
    assert Satellite().parse("a.png", folder=tmp_path) == tmp_path / "a.png"
    write_pairs(tmp_path / "pairs.jsonl", [Pair(tmp_path / "a.png", "red earth")])
    before = read_pairs(tmp_path / "pairs.jsonl", modality=Satellite()).sha256
    Image.new("RGB", (9, 9), "blue").save(tmp_path / "a.png")
    assert read_pairs(tmp_path / "pairs.jsonl", modality=Satellite()).sha256 != before


@pytest.mark.parametrize("sample", ["", None, 7, ["a.png"]], ids=repr)
def test_what_is_not_a_path_is_refused(sample: object) -> None:
    with pytest.raises(PairsError, match="not a path"):
        Satellite().parse(sample)


def test_drawing_is_self_contained(tmp_path: Path) -> None:
    Image.new("RGB", (400, 200), "navy").save(tmp_path / 'a"<b.png')
    drawing = Satellite().draw(tmp_path / 'a"<b.png')
    assert drawing.startswith('<img alt="a&quot;&lt;b.png" src="data:image/png;base64,')
    data = base64.b64decode(drawing.split("base64,")[1].split('"')[0])
    assert Image.open(io.BytesIO(data)).size == (128, 64)


def test_hooks_answer_to_their_names_only() -> None:
    modality, data = plugin.semi_modality("satellite"), plugin.semi_dataset("land-cover")
    assert modality is not None
    assert data is not None
    assert (modality.name, data.name, data.modality) == ("satellite", "land-cover", "satellite")
    fine = plugin.semi_dataset("land-cover-fine")
    assert fine is not None
    assert (fine.name, fine.modality, fine.assets) == ("land-cover-fine", "satellite", data.assets)
    assert plugin.semi_modality("land-cover") is None
    assert plugin.semi_dataset("satellite") is None
