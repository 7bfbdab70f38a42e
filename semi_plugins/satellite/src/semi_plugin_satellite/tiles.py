"""The Earth in tiles: what each looks like, what grows there and what climate it has."""

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

NORTH, SOUTH = 76, -60
"""Beyond them nothing but ice, and tiles that are far wider on the map than on the ground."""
MIN_LAND = 0.3
OCEAN = "Ocean"


@dataclass(frozen=True)
class Grid:
    """Where tiles may lie, in whole degrees: row below row from 76 north, in each row from 180 west."""

    side: int
    """Of a tile."""
    stride: int
    """From a tile to the next one in its row; they overlap where it is less than the side."""


COARSE = Grid(4, 4)
FINE = Grid(2, 1)


@dataclass(frozen=True)
class Tile:
    """A tile by its upper left corner and its side in degrees, with the facts behind its caption."""

    north: int
    west: int
    side: int
    cover: dict[int, float]
    """Share of the area by class of IGBP (0: water)."""
    zone: str
    """Koeppen and Geiger's, the commonest of the land."""

    @property
    def name(self) -> str:
        """For instance "n48-w004"."""
        return f"{'ns'[self.north < 0]}{abs(self.north):02d}-{'ew'[self.west < 0]}{abs(self.west):03d}"

    def cells(self, margin: int = 0) -> tuple[np.ndarray, ...]:
        """Index of its square degrees, and of those around it, in a map (180, 360); 180 degrees east is 180 west."""
        top, left, size = 90 - self.north - margin, self.west + 180 - margin, self.side + 2 * margin
        return np.ix_(np.arange(top, top + size), np.arange(left, left + size) % 360)


class Map:
    """A raster of the whole Earth, north up, from 180 degrees west, with a whole number of pixels a degree."""

    def __init__(self, path: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # pinned files of up to 84 megapixels
            with Image.open(path) as image:
                self.values = np.asarray(image)  # (h, w) or (h, w, 3)
        self.step = self.values.shape[1] // 360
        """Pixels a degree."""

    def cut(self, tile: Tile) -> np.ndarray:
        """A tile's part."""
        top, left, side = (degrees * self.step for degrees in (90 - tile.north, tile.west + 180, tile.side))
        return self.values[top : top + side, left : left + side]

    def census(self) -> np.ndarray:
        """How many pixels of each value lie in each square degree, (180, 360, values)."""
        n = int(self.values.max()) + 1
        column = np.repeat(np.arange(360) * n, self.step)  # of each pixel, as the place of its value 0 among the counts
        rows = (self.values[top : top + self.step] + column for top in range(0, 180 * self.step, self.step))
        return np.stack([np.bincount(row.ravel(), minlength=360 * n).reshape(360, n) for row in rows])


class Survey:
    """Land cover and climate of the whole Earth, counted by square degrees."""

    def __init__(self, land_cover: Path, climate: Path, zones: Path) -> None:
        """Read the rasters.

        Args:
            land_cover: raster of classes of IGBP.
            climate: raster of numbers of zones.
            zones: CSV table with the columns kg_zone and zoneNum.
        """
        self.covers, self.climates = Map(land_cover).census(), Map(climate).census()
        with zones.open(encoding="utf-8", newline="") as file:
            self.zones = {int(row["zoneNum"]): row["kg_zone"] for row in csv.DictReader(file)}

    def tiles(self, grid: Grid) -> Iterator[Tile]:
        """All tiles with at least 30 % of land and a known climate, from north to south and west to east."""
        places = [
            (north, west)
            for north in range(NORTH, SOUTH, -grid.side)
            for west in range(-180, 180 - grid.side + 1, grid.stride)
        ]
        for (north, west), classes, numbers in zip(
            places, _in_tiles(self.covers, grid), _in_tiles(self.climates, grid), strict=True
        ):
            total = float(classes.sum())
            cover = {int(c): float(classes[c]) / total for c in np.flatnonzero(classes)}
            if cover.get(0, 0.0) > 1 - MIN_LAND:
                continue
            land = [(int(numbers[z]), self.zones[int(z)]) for z in np.flatnonzero(numbers)]
            land = [(count, zone) for count, zone in land if zone != OCEAN]
            if land:
                yield Tile(north, west, grid.side, cover, max(land)[1])


def _in_tiles(census: np.ndarray, grid: Grid) -> np.ndarray:
    """The counts (180, 360, values) summed over each tile of the grid, (tiles, values)."""
    between = census[90 - NORTH : 90 - SOUTH]
    windows = np.lib.stride_tricks.sliding_window_view(between, (grid.side, grid.side), (0, 1))
    sums: np.ndarray = windows[:: grid.side, :: grid.stride].sum((-1, -2))
    return sums.reshape(-1, census.shape[-1])


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
            Image.fromarray(earth.cut(tile)).save(buffer, "PNG")
            write_bytes(path, buffer.getvalue())
    return paths
