"""Any form of a sample to a recording."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
from semi.errors import PairsError

from semi_plugin_imu.recording import Recording, Window
from semi_plugin_imu.sources.bags import is_bag, read_bag
from semi_plugin_imu.sources.files import read_csv, read_npy
from semi_plugin_imu.sources.lerobot import is_lerobot, read_lerobot
from semi_plugin_imu.sources.table import AXES, NAMES, Declared, named, recording
from semi_plugin_imu.units import declared_units

DECLARATIONS = "imu.json"
"""A file that declares for its folder what samples do not declare themselves."""
KINDS = {
    "data": {"rate", "units", "columns", "start", "duration"},
    "file": {"rate", "units", "columns", "start", "duration"},
    "bag": {"topic", "units", "start", "duration"},
    "lerobot": {"episode", "feature", "units", "columns", "start", "duration"},
}
"""What a sample may hold beside the key that says what it is."""
INLINE = {*AXES, "rate", "units", "start", "duration"}
FORMS = (
    '{"data": numbers}, {"file": path}, {"bag": path}, {"lerobot": folder}, or {"acceleration": ..., "gyroscope": ...}'
)


def read_sample(sample: Any, folder: Path | None = None) -> Recording:
    """The measurements of a sample, whatever its form; see the README for all of them.

    Args:
        sample: a mapping, the same as JSON text, numbers (T, 6), or a path.
        folder: what relative paths start from, and where imu.json may lie.

    Raises:
        PairsError: it is none of these, or its rate or units are not known.
        InputError: an extra is missing that its source needs.
    """
    folder = folder or Path()
    described = _described(sample, folder)
    found = _read(described, folder)
    return replace(found, source=sample.source if isinstance(sample, Window) else _source(described))


def _read(described: dict[str, Any], folder: Path) -> Recording:
    kind = next((name for name in KINDS if name in described), None)
    allowed = INLINE if kind is None else KINDS[kind] | {kind}
    if unknown := sorted(set(described) - allowed):
        raise PairsError(f"a sample has no key {unknown[0]!r} here", expected=", ".join(sorted(allowed)))
    if kind is None and not set(AXES) & set(described):
        raise PairsError("a sample does not say where its measurements are", got=sorted(described), expected=FORMS)
    if kind is not None:
        defaults = _defaults(folder)
        described = {key: value for key, value in defaults.items() if key in allowed} | described
    declared = _declared(described)
    if kind is None:
        return recording(_inline(described), declared)
    if kind == "data":
        return recording(named(_numbers(described["data"]), declared), declared)
    path = folder / _text(described, kind)
    if kind == "bag":
        return read_bag(path, _text(described, "topic") if "topic" in described else None, declared)
    if kind == "lerobot":
        episode = described.get("episode")
        if not isinstance(episode, int) or isinstance(episode, bool) or episode < 0:
            raise PairsError("which episode?", got=repr(episode), expected='"episode": its index')
        return read_lerobot(path, episode, _text(described, "feature"), declared)
    readers = {".npy": read_npy, ".csv": read_csv}
    if path.suffix.lower() not in readers:
        raise PairsError(f"{path} is of an unknown kind", got=path.suffix or "no suffix", expected=", ".join(readers))
    return readers[path.suffix.lower()](path, declared)


def _source(described: Mapping[str, Any]) -> str:
    """What a person knows it by: its file, and where in the file."""
    place = next((str(described[kind]) for kind in ("file", "bag", "lerobot") if kind in described), "")
    told = [f"{key} {described[key]}" for key in ("topic", "episode", "start") if place and key in described]
    return ", ".join([place, *told])


def _described(sample: Any, folder: Path) -> dict[str, Any]:
    """The sample as a mapping with a key that says what it is."""
    if isinstance(sample, str) and sample.lstrip().startswith("{"):
        try:
            sample = json.loads(sample)
        except (ValueError, RecursionError) as error:
            raise PairsError("the sample is broken JSON", got=f"{sample[:80]} ({error})") from error
    if isinstance(sample, Mapping):
        return dict(sample)
    if isinstance(sample, list | tuple | np.ndarray):
        return {"data": sample}
    if not isinstance(sample, str | Path) or not str(sample).strip():
        raise PairsError("not a sample of the modality imu", got=repr(sample)[:80], expected=f"{FORMS}, or a path")
    if is_lerobot(folder / sample):
        do = f'{{"lerobot": "{sample}", "episode": 0, "feature": "observation.imu", "units": ...}}'
        raise PairsError(f"{sample} is a LeRobot data set: which episode and feature?", do=do)
    return {"bag" if is_bag(folder / sample) else "file": sample}


def _defaults(folder: Path) -> dict[str, Any]:
    path = folder / DECLARATIONS
    if not path.is_file():
        return {}
    try:
        declared = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise PairsError(f"{path} cannot be read", got=error, expected='{"rate": 50, "units": "SI"}') from error
    known = {"rate", "units", "columns", "topic"}
    if not isinstance(declared, dict) or set(declared) - known:
        raise PairsError(f"{path} declares something unknown", got=declared, expected=", ".join(sorted(known)))
    return declared


def _declared(described: Mapping[str, Any]) -> Declared:
    columns = described.get("columns")
    if columns is not None:
        fine = isinstance(columns, list | tuple) and all(name is None or name in NAMES for name in columns)
        used = [name for name in columns if name is not None] if fine else []
        if not fine or len(set(used)) != len(used):
            expected = f"a list of {', '.join(NAMES)} or null, each at most once"
            raise PairsError("`columns` does not name columns", got=repr(columns)[:80], expected=expected)
    return Declared(
        rate=_number(described, "rate", above=0.0),
        units=declared_units(described["units"]) if "units" in described else {},
        columns=tuple(columns) if columns is not None else None,
        start=_number(described, "start") or 0.0,
        duration=_number(described, "duration", above=0.0),
    )


def _inline(described: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Columns of {"acceleration": (T, 3), "gyroscope": (T, 3)}."""
    columns: dict[str, np.ndarray] = {}
    for quantity, axes in AXES.items():
        if quantity in described:
            values = _numbers(described[quantity])
            if values.ndim != 2 or values.shape[1] != 3:
                raise PairsError(
                    f"the {quantity} is no list of x, y, z", got=f"shape {values.shape}", expected="(T, 3)"
                )
            columns.update(zip(axes, values.T.astype(np.float64), strict=True))
    if len({len(column) for column in columns.values()}) > 1:
        raise PairsError("acceleration and gyroscope differ in length", got=[len(c) for c in columns.values()][::3])
    return columns


def _numbers(values: Any) -> np.ndarray:
    if isinstance(values, np.ndarray):
        array = values
    else:
        try:
            array = np.array(values)
        except (ValueError, OverflowError) as error:
            raise PairsError("not a table of measurements", got=error, expected="rows of one length") from error
    if array.dtype.kind not in "fiu" or not array.size:
        raise PairsError("not numbers", got=repr(values)[:80], expected="rows of numbers")
    return array


def _number(described: Mapping[str, Any], key: str, above: float | None = None) -> float | None:
    value = described.get(key)
    if value is None:
        return None
    fine = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool) and isfinite(value)
    if not fine or (value <= above if above is not None else value < 0):
        what = "a positive number" if above is not None else "a number that is not negative"
        raise PairsError(f"`{key}` is not {what}", got=repr(value)[:80])
    return float(value)


def _text(described: Mapping[str, Any], key: str) -> str:
    value = described.get(key)
    if not isinstance(value, str | Path) or not str(value).strip():
        raise PairsError(f"`{key}` is missing or not text", got=repr(value)[:80], expected=f'"{key}": "..."')
    return str(value)
