"""Tiles, their captions and their splits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from semi.errors import InputError
from semi.metrics import attribute_accuracy, vocabulary

from semi_plugin_satellite.assets import BLUE_MARBLE, CLIMATE, LAND_COVER
from semi_plugin_satellite.captions import CLIMATES, COVERS, caption, facts_of
from semi_plugin_satellite.dataset import LandCover, build
from semi_plugin_satellite.splits import REGION, SHARES, region_of, split_by_region
from semi_plugin_satellite.tiles import DEGREES, Map, Tile, find_tiles

needs_data = pytest.mark.skipif(
    not all(asset.present() for asset in (BLUE_MARBLE, LAND_COVER, CLIMATE)),
    reason="run: semi fetch land-cover (33 MB)",
)
ZONES = [zone for zones in CLIMATES.values() for zone in zones]


def tiles_of(earth: Path) -> list[Tile]:
    return list(find_tiles(earth / "cover.tif", earth / "kmz_int_reshape.png", earth / "kg_zoneNum.csv"))


def test_tiles_are_found_where_there_is_land(earth: Path) -> None:
    tiles = {tile.name: tile for tile in tiles_of(earth)}
    assert len(tiles) == 15 * 20 - 1
    assert "n04-e020" not in tiles
    assert tiles["n40-e000"].cover == {0: 0.5, 16: 0.5}
    assert tiles["n36-e000"].cover == {10: 0.25, 16: 0.75}
    assert (tiles["n40-e000"].zone, tiles["s04-e056"].zone) == ("BWh", "Af")


def test_a_tile_is_cut_where_it_lies(tmp_path: Path) -> None:
    latitude, longitude = np.mgrid[90:-90:-1, -180:180]
    raster = np.stack([latitude + 90, (longitude + 180) // 2, latitude * 0], -1).astype(np.uint8)
    Image.fromarray(raster).save(tmp_path / "map.png")
    part = Map(tmp_path / "map.png").cut(48, -120)
    assert part.shape == (DEGREES, DEGREES, 3)
    assert part[..., 0].max() == 48 + 90
    assert part[..., 1].min() == (180 - 120) // 2


def test_facts() -> None:
    assert facts_of({16: 0.9, 10: 0.1}, "BWh") == {
        "cover": "barren land", "extent": "unbroken", "climate": "hot desert climate",
    }  # fmt: skip
    assert facts_of({0: 0.5, 1: 0.2, 10: 0.15, 8: 0.15}, "Dfc") == {
        "cover": "evergreen needleleaf forest", "extent": "patchy", "climate": "subarctic climate",
        "water": "open water",
    }  # fmt: skip
    assert facts_of({0: 0.14, 12: 0.46, 14: 0.4}, "Cfa")["extent"] == "extensive"


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
    values = vocabulary([{"cover": cover} for cover in COVERS[1:]] + [{"climate": climate} for climate in CLIMATES])
    assert attribute_accuracy([text], [told], values) == 1.0
    assert 2 <= len(text.split()) <= 16
    assert text == " ".join(text.split())


def test_phrasings_vary() -> None:
    facts = facts_of({0: 0.3, 10: 0.7}, "ET")
    assert len({caption(str(key), facts)[0] for key in range(400)}) > 60


def test_neighbours_touch_across_the_date_line() -> None:
    def tile(north: int, west: int) -> Tile:
        return Tile(north, west, {1: 1.0}, "Af")

    assert tile(40, -180).touches(tile(40, 176))
    assert tile(40, 0).touches(tile(36, 4))
    assert not tile(40, 0).touches(tile(40, 8))
    assert not tile(40, 0).touches(tile(32, 0))


@given(st.sets(st.tuples(st.integers(-10, 10), st.integers(0, 89)), max_size=60))
def test_splits_never_touch_whatever_the_land(places: set[tuple[int, int]]) -> None:
    tiles = [Tile(4 * north, 4 * west - 180, {1: 1.0}, "Af") for north, west in sorted(places)]
    splits = split_by_region(tiles)
    for one, its_split in zip(tiles, splits, strict=True):
        for other, other_split in zip(tiles, splits, strict=True):
            if its_split and other_split and its_split != other_split:
                assert not one.touches(other)
                assert region_of(one) != region_of(other)


def test_small_earth_whole(earth: Path, tmp_path: Path) -> None:
    splits = build(earth / "picture.png", earth / "cover.tif", earth, tmp_path / "tiles")
    assert all(splits[split] for split in SHARES)
    pairs = {pair.sample.name: pair for split in SHARES for pair in splits[split]}
    assert REGION % DEGREES == 0
    picture = np.asarray(Image.open(earth / "picture.png"))
    for name, pair in list(pairs.items())[:5]:
        north, west = int(name[1:3]) * (1 if name[0] == "n" else -1), int(name[5:8])
        expected = picture[(90 - north) * 5 : (90 - north) * 5 + 20, (west + 180) * 5 : (west + 180) * 5 + 20]
        np.testing.assert_array_equal(np.asarray(Image.open(pair.sample)), expected)
        assert pair.attributes["cover"] == ("barren land" if north > 0 else "evergreen broadleaf forest")
    stamp = {path: path.stat().st_mtime_ns for path in (tmp_path / "tiles").iterdir()}
    build.cache_clear()
    assert build(earth / "picture.png", earth / "cover.tif", earth, tmp_path / "tiles") == splits
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "tiles").iterdir()} == stamp


def test_unknown_split_names_the_known() -> None:
    with pytest.raises(InputError, match="no such split") as error:
        LandCover().pairs("dev")
    assert "validation" in str(error.value)


@pytest.mark.assets
@needs_data
def test_real_splits() -> None:
    by_split = {split: LandCover().pairs(split) for split in SHARES}
    assert {split: len(pairs) for split, pairs in by_split.items()} == {"train": 549, "validation": 75, "test": 207}
    for pairs in by_split.values():
        for pair in pairs:
            assert isinstance(pair.sample, Path)
            assert all(value in pair.caption for value in pair.attributes.values())
    with Image.open(by_split["train"][0].sample) as tile:
        assert tile.size == (60, 60)
