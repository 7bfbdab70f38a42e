"""Small pictures from above, made here, and a small Earth in the files that the data set is cut from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

PIXELS = 5
"""A degree, of all three rasters."""


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Sequence[Path]:
    """A forest, fields in stripes, and a coast."""
    folder, noise = tmp_path_factory.mktemp("scenes"), np.random.default_rng(0)
    rows, columns = np.mgrid[:96, :96]
    forest = np.full((96, 96, 3), (30, 70, 25)) + noise.normal(0, 12, (96, 96, 1))
    fields = np.where((columns // 8 % 2)[..., None], (150, 140, 90), (90, 120, 60))
    coast = np.where((columns + rows // 4 > 50)[..., None], (8, 20, 70), (170, 150, 110))
    for name, pixels in (("forest", forest), ("fields", fields), ("coast", coast)):
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{name}.png")
    return [folder / f"{name}.png" for name in ("forest", "fields", "coast")]


@pytest.fixture(scope="session")
def earth(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """picture.png, cover.tif, kmz_int_reshape.png and kg_zoneNum.csv: land from 0 to 60 east, 40 north to 40 south."""
    folder = tmp_path_factory.mktemp("earth")
    noise = np.random.default_rng(1)
    picture = noise.integers(0, 255, (180 * PIXELS, 360 * PIXELS, 3), dtype=np.uint8)
    cover, zones = np.zeros(picture.shape[:2], np.uint8), np.full(picture.shape[:2], 3, np.uint8)

    def place(north: int, south: int, west: int, east: int) -> tuple[slice, slice]:
        return slice((90 - north) * PIXELS, (90 - south) * PIXELS), slice((west + 180) * PIXELS, (east + 180) * PIXELS)

    cover[place(40, 0, 0, 60)], zones[place(40, 0, 0, 60)] = 16, 1
    cover[place(0, -40, 0, 60)], zones[place(0, -40, 0, 60)] = 2, 2
    cover[place(40, 38, 0, 4)] = 0  # half a tile of water
    cover[place(36, 35, 0, 4)] = 10  # a quarter of grassland
    cover[place(4, 1, 20, 24)] = 0  # three quarters of water: left out
    Image.fromarray(picture).save(folder / "picture.png")
    Image.fromarray(cover).save(folder / "cover.tif")
    Image.fromarray(zones).save(folder / "kmz_int_reshape.png")
    (folder / "kg_zoneNum.csv").write_text(",kg_zone,zoneNum\n1,BWh,1\n2,Af,2\n3,Ocean,3\n", "utf-8")
    return folder
