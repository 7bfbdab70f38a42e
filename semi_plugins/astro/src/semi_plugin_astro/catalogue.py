"""Which object of OpenNGC a photograph of Stellarium shows, and where in the sky it lies."""

from __future__ import annotations

import json
import math
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PREFIXES = {
    "m": "M{:03d}", "n": "NGC{:04d}", "ic": "IC{:04d}", "u": "UGC{:05d}", "p": "PGC{:06d}", "lbn": "LBN{:03d}",
    "vdb": "VDB{:03d}", "sh2": "SH2-{:03d}",
}  # fmt: skip
"""Beginnings of Stellarium's file names and the identifiers of OpenNGC that they stand for."""
NAMED = {"pleiades": "Mel022", "etacarinae": "NGC3372", "sh2-155": "C009", "m102": "NGC5866"}
"""Files whose name is not the identifier; OpenNGC takes Messier 102 for a repetition of 101, Stellarium does not."""
NAME = re.compile(r"(sh2|lbn|vdb|ic|[mnup])-?(\d+)")


@dataclass(frozen=True)
class Field:
    """A rectangle of the sky in degrees: its middle and half the diagonal."""

    ra: float
    dec: float
    radius: float

    def distance(self, ra: float, dec: float) -> float:
        """Great-circle distance of a place from the middle, degrees (haversine formula)."""
        up, across = math.radians(dec - self.dec) / 2, math.radians(ra - self.ra) / 2
        h = math.sin(up) ** 2 + math.cos(math.radians(dec)) * math.cos(math.radians(self.dec)) * math.sin(across) ** 2
        return math.degrees(2 * math.asin(math.sqrt(min(1.0, h))))

    def overlaps(self, other: Field) -> bool:
        """Whether the circles around both share anything."""
        return self.distance(other.ra, other.dec) < self.radius + other.radius


@dataclass(frozen=True)
class Object:
    """A row of OpenNGC."""

    name: str
    type: str
    ra: float
    """Degrees, as `dec`."""
    dec: float
    hubble: str
    major: float | None
    """Arc minutes, as `minor`."""
    minor: float | None
    magnitude: float | None
    """V, or B where V is not known."""


def read_fields(textures: Path) -> dict[str, Field]:
    """Places of the photographs by file name, from Stellarium's textures.json."""
    # The file has numbers such as "-.97", which JSON does not.
    text = re.sub(r"(?<=[\[,\s:])(-?)\.(?=\d)", r"\g<1>0.", textures.read_text("utf-8"))
    return {tile["imageUrl"]: _field(tile["worldCoords"][0]) for tile in json.loads(text)["subTiles"]}


def _field(corners: list[list[float]]) -> Field:
    """The field between four corners (right ascension, declination); it may lie across 0 hours."""
    points = [_unit(*corner) for corner in corners]
    x, y, z = (sum(axis) / len(points) for axis in zip(*points, strict=True))
    middle = Field(math.degrees(math.atan2(y, x)) % 360, math.degrees(math.atan2(z, math.hypot(x, y))), 0.0)
    return Field(middle.ra, middle.dec, max(middle.distance(*corner) for corner in corners))


def _unit(ra: float, dec: float) -> tuple[float, float, float]:
    a, d = math.radians(ra), math.radians(dec)
    return math.cos(d) * math.cos(a), math.cos(d) * math.sin(a), math.sin(d)


class Catalogue:
    """OpenNGC by identifier."""

    def __init__(self, database: Path) -> None:
        with closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
            connection.row_factory = sqlite3.Row
            rows = [dict(row) for row in connection.execute("SELECT * FROM objects ORDER BY id")]
            identifiers = connection.execute("SELECT identifier, name FROM objIdentifiers ORDER BY id").fetchall()
        self._rows = {row["name"]: row for row in rows}
        self._names = {row["identifier"]: row["name"] for row in identifiers}
        self._names |= {f"M{row['messier']}": row["name"] for row in rows if row["messier"] and row["type"] != "Dup"}

    def shown(self, file: str, field: Field) -> Object | None:
        """The object that a file is named after ("n253-vasey.png"), if it lies in the file's field; else None."""
        stem = Path(file).stem.lower()
        match = NAME.match(stem)
        identifier = NAMED.get(stem) or (PREFIXES[match[1]].format(int(match[2])) if match else "")
        row = self._row(identifier)
        if row is None or row["ra"] is None or row["dec"] is None:
            return None
        ra, dec = math.degrees(row["ra"]), math.degrees(row["dec"])
        return _object(row, ra, dec) if field.distance(ra, dec) <= field.radius else None

    def _row(self, identifier: str) -> dict[str, Any] | None:
        """The row of an identifier; of a duplicate that of the object it repeats."""
        row = self._rows.get(self._names.get(identifier, identifier))
        if row is not None and row["type"] == "Dup":
            original = next(self._originals(row), None)
            return self._rows.get(original) if original else None
        return row

    @staticmethod
    def _originals(row: dict[str, Any]) -> Iterator[str]:
        for catalogue, column in (("NGC", "ngc"), ("IC", "ic")):
            if row[column]:
                yield f"{catalogue}{row[column].split(',')[0]}"


def _object(row: dict[str, Any], ra: float, dec: float) -> Object:
    magnitude = row["vmag"] if row["vmag"] is not None else row["bmag"]
    return Object(row["name"], row["type"], ra, dec, row["hubble"], row["majax"], row["minax"], magnitude)
