"""Tables in files: .npy and .csv."""

from __future__ import annotations

import csv
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
from semi.errors import PairsError

from semi_plugin_imu.recording import Recording
from semi_plugin_imu.sources.table import AXES, NAMES, Declared, named, recording
from semi_plugin_imu.units import SI, declared_units

_HEADED = re.compile(r"\s*(\w+)\s*(?:[\[(]\s*([^\])]+?)\s*[\])])?\s*")
"""A column's name and, if it says so, its unit: "ax [g]", "time (ms)"."""
_QUANTITY = {"time": "time"} | {axis: quantity for quantity, axes in AXES.items() for axis in axes}


def read_npy(path: Path, declared: Declared) -> Recording:
    """An array (T, k); nothing pickled in the file is ever run.

    Raises:
        PairsError: missing, not such a file, or what `recording` refuses.
    """
    try:
        values = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise PairsError(f"{path} cannot be read as .npy", got=error, do="write it with numpy.save") from error
    if not isinstance(values, np.ndarray):
        values.close()
        raise PairsError(f"{path} holds several arrays", got=".npz", expected="a .npy file with one array (T, k)")
    return recording(named(values, declared), declared)


def read_csv(path: Path, declared: Declared) -> Recording:
    """A table with a header of time, ax, ay, az, gx, gy, gz in any order; other columns are passed over.

    A header may bring the units along ("ax [g]", "time (ms)"), all axes of a quantity the same.

    Raises:
        PairsError: missing, not such a table, or what `recording` refuses.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        header, *rows = [row for row in csv.reader(text.splitlines(), strict=True) if any(map(str.strip, row))]
    except (OSError, UnicodeDecodeError, ValueError, csv.Error) as error:
        expected = f"a header with {', '.join(NAMES)} and rows of numbers, in UTF-8"
        raise PairsError(f"{path} cannot be read as a table", got=error, expected=expected) from error
    if declared.columns is None:
        names, units = _header(path, header)
        declared = replace(declared, units={**units, **declared.units})
    else:
        names = list(declared.columns)
    if len(names) != len(header):
        raise PairsError(f"{path}: not every column has a name", got=len(names), expected=f"{len(header)} columns")
    places = [(place, name) for place, name in enumerate(names) if name is not None]
    columns: dict[str, np.ndarray] = {}
    for place, name in places:
        if name in columns:
            raise PairsError(f"{path}: two columns have one name", got=name)
        try:
            columns[name] = np.array([float(row[place]) for row in rows])
        except (ValueError, IndexError) as error:
            raise PairsError(f"{path}: the column {name} holds something else than numbers", got=error) from error
    if not rows:
        raise PairsError(f"{path} holds no measurements", got="a header only")
    return recording(columns, declared)


def _header(path: Path, header: list[str]) -> tuple[list[str | None], dict[str, str]]:
    """Names as semi knows them (None: another column), and the units that stand beside them."""
    names: list[str | None] = []
    units: dict[str, str] = {}
    for cell in header:
        match = _HEADED.fullmatch(cell)
        name = match[1].lower() if match else ""
        names.append(name if name in NAMES else None)
        if match is None or match[2] is None or name not in NAMES:
            continue
        quantity = _QUANTITY[name]
        declared_units({quantity: match[2]})
        if units.setdefault(quantity, match[2]) != match[2]:
            raise PairsError(f"{path}: two units of {quantity}", got=f"{units[quantity]} and {match[2]}")
    if not any(names):
        expected = f"{', '.join(NAMES)} (units as in ax [{SI['acceleration']}])"
        raise PairsError(f"{path}: no column is known by its name", got=", ".join(header)[:120], expected=expected)
    return names, units
