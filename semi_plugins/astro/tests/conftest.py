"""Small photographs, made here: a disc, a spiral and a line of light; and files as Stellarium lays them out."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SKY = {
    "n5139.png": (201.697, -47.479, 0.3), "n253-vasey.png": (11.888, -25.288, 0.3),
    "m57dumont.png": (283.396, 33.029, 0.1),
    "n3031.png": (148.888, 69.065, 0.3), "n3034.png": (148.968, 69.4, 0.3), "m102.png": (226.623, 55.763, 0.1),
    "lmc_01.png": (80.0, -69.0, 1.0), "n7822.png": (0.9, 67.1, 1.0), "n11.png": (120.0, 10.0, 0.1),
}  # fmt: skip
"""File, and the middle and half the side of its field in degrees; n11 is not where the catalogue has it."""
OBJECTS = (
    # name, type, ra, dec (degrees), major, minor, V, Hubble type, Messier number, NGC number
    ("NGC5139", "GCl", 201.697, -47.479, 36.3, None, 3.9, "", "", ""),
    ("NGC0253", "G", 11.888, -25.288, 26.8, 4.6, 7.1, "SABc", "", ""),
    ("NGC6720", "PN", 283.396, 33.029, 1.2, None, 8.8, "", "057", ""),
    ("NGC3031", "G", 148.888, 69.065, 21.6, 11.2, 6.9, "Sab", "081", ""),
    ("NGC3034", "G", 148.968, 69.68, 11.0, 5.1, 8.3, "S?", "082", ""),
    ("NGC5866", "G", 226.623, 55.763, 6.3, 2.7, 9.9, "S0-a", "", ""),
    ("M102", "Dup", 210.8, 54.35, None, None, None, "", "101", "5457"),
    ("NGC7822", "HII", 0.9, 67.1, 60.0, 30.0, None, "", "", ""),
    ("NGC0011", "G", 2.2, 37.4, 1.5, 0.3, 13.7, "Sa", "", ""),
)


def draw(kind: str, seed: int = 0, side: int = 128) -> np.ndarray:
    """Grey light (side, side), 0 to 255, uint8."""
    rows, columns = np.mgrid[:side, :side] - side / 2
    radius, angle = np.hypot(rows, columns), np.arctan2(rows, columns)
    light = {
        "disc": np.exp(-((radius / 20) ** 2)),
        "spiral": np.exp(-radius / 25) * (0.6 + 0.4 * np.cos(2 * angle - radius / 6)),
        "line": np.exp(-((rows / 3) ** 2) - (columns / 40) ** 2),
    }[kind]
    noise = np.random.default_rng(seed).normal(0, 0.02, light.shape)
    return (np.clip(light + noise, 0, 1) * 255).astype(np.uint8)


@pytest.fixture(scope="session")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Sequence[Path]:
    """A disc, a spiral and a line of light."""
    folder = tmp_path_factory.mktemp("photographs")
    for kind in ("disc", "spiral", "line"):
        Image.fromarray(draw(kind)).save(folder / f"{kind}.png")
    return [folder / f"{kind}.png" for kind in ("disc", "spiral", "line")]


@pytest.fixture(scope="session")
def nebulae(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of photographs with textures.json, numbers without a leading zero included."""
    folder = tmp_path_factory.mktemp("nebulae")
    tiles = []
    for seed, (file, (ra, dec, half)) in enumerate(SKY.items()):
        across = half / np.cos(np.radians(dec))
        corners = [((ra + x * across) % 360, dec + y * half) for x, y in ((1, -1), (-1, -1), (-1, 1), (1, 1))]
        tiles.append({"imageUrl": file, "worldCoords": [corners]})
        light = draw(("disc", "spiral", "line")[seed % 3], seed)
        Image.fromarray(np.roll(light, 9 * seed, axis=seed % 2)).save(folder / file)
    text = json.dumps({"shortName": "Nebulae", "subTiles": tiles, "minResolution": 0.05})
    (folder / "textures.json").write_text(text.replace(" 0.05", " .05"), "utf-8")
    return folder


@pytest.fixture(scope="session")
def openngc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with the columns of OpenNGC that are read."""
    path = tmp_path_factory.mktemp("openngc") / "ongc.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(
            "CREATE TABLE objects(id INTEGER PRIMARY KEY, name, type, ra REAL, dec REAL, majax REAL, minax REAL,"
            " vmag REAL, bmag REAL, hubble, messier, ngc, ic)"
        )
        connection.execute("CREATE TABLE objIdentifiers(id INTEGER PRIMARY KEY, name, identifier)")
        for name, kind, ra, dec, *rest in OBJECTS:
            row = (name, kind, np.radians(ra), np.radians(dec), *rest[:3], None, *rest[3:], "")
            connection.execute("INSERT INTO objects VALUES(NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
            connection.execute("INSERT INTO objIdentifiers VALUES(NULL, ?, ?)", (name, name))
        connection.commit()
    return path
