"""Physical state at 25 degrees Celsius from measured melting and boiling points."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path

ROOM = 298.15  # kelvin

# Measured values only: the package also has Yaws' table (partly predicted) and Joback's estimates, which are not read.
SOURCES = (
    "Phase Change/OpenNotebook Melting Points.tsv",
    "Misc/Physical Constants of Organic Compounds.csv",
    "Misc/webbook_constants.tsv",
)


def state_at_room_temperature(melting: Iterable[float], boiling: Iterable[float]) -> str | None:
    """ "solid", "liquid" or "gas", or None where the measurements (kelvin) leave it open or contradict each other."""
    melts_above, boils_above = {t > ROOM for t in melting}, {t > ROOM for t in boiling}
    if len(melts_above) > 1 or len(boils_above) > 1:
        return None
    if melts_above == {True}:
        return "solid" if boils_above != {False} else None
    if boils_above == {False}:
        return "gas"
    return "liquid" if melts_above and boils_above else None


def read_states(root: Path) -> dict[str, str]:
    """CAS number without dashes -> state, of every substance in the tables below `root` whose state is known."""
    points: dict[str, tuple[list[float], list[float]]] = {}
    for name in SOURCES:
        with (root / name).open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file, delimiter="\t"):
                found = points.setdefault(row["CAS"].replace("-", ""), ([], []))
                for temperatures, column in zip(found, ("Tm", "Tb"), strict=True):
                    if value := row.get(column):
                        temperatures.append(float(value))
    states = {cas: state_at_room_temperature(*found) for cas, found in points.items()}
    return {cas: state for cas, state in states.items() if state}
