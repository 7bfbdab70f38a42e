"""The Earth in tiles of 4 x 4 degrees: what each looks like, what grows there and what climate it has."""

from __future__ import annotations

import csv
import io
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from semi.artifacts import write_bytes

DEGREES = 4
NORTH, SOUTH = 76, -60
"""Beyond them nothing but ice, and tiles that are far wider on the map than on the ground."""
MIN_LAND = 0.3
OCEAN = "Ocean"


@dataclass(frozen=True)
class Tile:
    """A tile by its upper left corner in degrees, with the facts behind its caption."""

    north: int
    west: int
    cover: dict[int, float]
    """Share of the area by class of IGBP (0: water)."""
    zone: str
    """Koeppen and Geiger's, the commonest of the land."""

    @property
    def name(self) -> str:
        """For instance "n48-w004"."""
        return f"{'ns'[self.north < 0]}{abs(self.north):02d}-{'ew'[self.west < 0]}{abs(self.west):03d}"

    def touches(self, other: Tile) -> bool:
        """Whether they share an edge or a corner, or are the same; 180 degrees east is 180 west."""
        across = abs(self.west - other.west)
        return abs(self.north - other.north) <= DEGREES and min(across, 360 - across) <= DEGREES


class Map:
    """A raster of the whole Earth, north up, from 180 degrees west."""

    def __init__(self, path: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # pinned files of up to 84 megapixels
            with Image.open(path) as image:
                self.values = np.asarray(image)  # (h, w) or (h, w, 3)

    def cut(self, north: int, west: int) -> np.ndarray:
        """A tile's part."""
        step = self.values.shape[1] / 360  # pixels a degree
        top, left, side = round((90 - north) * step), round((west + 180) * step), round(DEGREES * step)
        return self.values[top : top + side, left : left + side]


def find_tiles(land_cover: Path, climate: Path, zones: Path) -> Iterator[Tile]:
    """All tiles with at least 30 % of land and a known climate, from north to south and west to east.

    Args:
        land_cover: raster of classes of IGBP.
        climate: raster of numbers of zones.
        zones: CSV table with the columns kg_zone and zoneNum.
    """
    covers, climates = Map(land_cover), Map(climate)
    with zones.open(encoding="utf-8", newline="") as file:
        names = {int(row["zoneNum"]): row["kg_zone"] for row in csv.DictReader(file)}
    for north in range(NORTH, SOUTH, -DEGREES):
        for west in range(-180, 180, DEGREES):
            classes, counts = np.unique(covers.cut(north, west), return_counts=True)
            cover = {int(c): float(n) / float(counts.sum()) for c, n in zip(classes, counts, strict=True)}
            numbers, counts = np.unique(climates.cut(north, west), return_counts=True)
            land = [(int(n), names[int(z)]) for z, n in zip(numbers, counts, strict=True) if names[int(z)] != OCEAN]
            if cover.get(0, 0.0) <= 1 - MIN_LAND and land:
                yield Tile(north, west, cover, max(land)[1])


def write_tiles(tiles: list[Tile], picture: Path, folder: Path) -> list[Path]:
    """The tiles' pictures as PNG files; those that are there already stay."""
    paths = [folder / f"{tile.name}.png" for tile in tiles]
    if all(path.is_file() for path in paths):
        return paths
    folder.mkdir(parents=True, exist_ok=True)
    earth = Map(picture)
    for tile, path in zip(tiles, paths, strict=True):
        if not path.is_file():
            buffer = io.BytesIO()
            Image.fromarray(earth.cut(tile.north, tile.west)).save(buffer, "PNG")
            write_bytes(path, buffer.getvalue())
    return paths
