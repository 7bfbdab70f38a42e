"""Named columns to a recording: what all sources end in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from semi.errors import PairsError

from semi_plugin_imu.recording import Recording
from semi_plugin_imu.sampling import evened
from semi_plugin_imu.units import factor

AXES = {"acceleration": ("ax", "ay", "az"), "gyroscope": ("gx", "gy", "gz")}
NAMES = ("time", *AXES["acceleration"], *AXES["gyroscope"])
BY_WIDTH = {7: NAMES, 6: NAMES[1:], 4: NAMES[:4], 3: NAMES[1:4]}
"""What the columns of an array are if nobody says."""
RATE_TOLERANCE = 0.1
"""A declared rate and time stamps that differ by more contradict each other."""


@dataclass(frozen=True)
class Declared:
    """What is known about the numbers beside the numbers."""

    rate: float | None = None
    """Hz; needed where there is no time column."""
    units: Mapping[str, str] = field(default_factory=dict)
    columns: tuple[str | None, ...] | None = None
    """Names of the columns in order; None: not to be used."""
    start: float = 0.0
    """Seconds after the first measurement."""
    duration: float | None = None
    """Seconds; None: to the end."""


def named(values: np.ndarray, declared: Declared) -> dict[str, np.ndarray]:
    """The columns of an array (T, k) by their names.

    Raises:
        PairsError: not a table of numbers, or nobody says what its columns are.
    """
    if values.ndim != 2 or not len(values) or values.dtype.kind not in "fiu":
        got = f"shape {values.shape} of {values.dtype}"
        raise PairsError("not a table of measurements", got=got, expected="numbers (T, 3), (T, 4), (T, 6) or (T, 7)")
    columns: Sequence[str | None] | None = declared.columns or BY_WIDTH.get(values.shape[1])
    if columns is None or len(columns) != values.shape[1]:
        raise PairsError(
            "it is not known what the columns are",
            got=f"{values.shape[1]} columns, {len(columns) if columns else 'no'} names",
            expected=f"7: {', '.join(NAMES)}; 6: without time; 4: without gx, gy, gz; 3: ax, ay, az",
            do='name them: "columns": ["ax", "ay", ...], null for one that is not to be used',
        )
    return {name: values[:, place].astype(np.float64) for place, name in enumerate(columns) if name is not None}


def recording(columns: Mapping[str, np.ndarray], declared: Declared) -> Recording:
    """The window of a table that was asked for, in SI units and at an even rate.

    Args:
        columns: "time", "ax", ... each (T,), float64; time may be missing, and one of the two quantities.
        declared: rate, units and window.

    Raises:
        PairsError: rate or unit unknown or contradicted, an axis missing, the window not in the recording, or numbers
            that no sensor gives.
    """
    measured = {name: axes for name, axes in AXES.items() if any(axis in columns for axis in axes)}
    missing = [axis for axes in measured.values() for axis in axes if axis not in columns]
    if missing or not measured:
        raise PairsError(
            "columns are missing",
            got=", ".join(columns) or "no columns",
            expected=", ".join(missing) or "ax, ay, az and/or gx, gy, gz",
        )
    axes = [axis for axes in measured.values() for axis in axes]
    scale = np.repeat([factor(name, declared.units) for name in measured], 3)
    values = np.stack([columns[axis] for axis in axes], axis=1) * scale  # (T, 3 or 6)
    if "time" in columns:
        # Stamps of 1.7e18 ns lose nothing here: differences are taken before they are scaled.
        time = (columns["time"] - columns["time"][0]) * factor("time", {"time": "s"} | dict(declared.units))
        time, values = _cut(time, values, declared)
        values, rate = evened(time, values)
        if declared.rate is not None and abs(rate - declared.rate) > RATE_TOLERANCE * declared.rate:
            raise PairsError(
                "the declared rate and the time stamps contradict each other",
                got=f"{rate:g} Hz by the stamps",
                expected=f"{declared.rate:g} Hz as declared",
                do='leave "rate" out, or declare the unit of time',
            )
    elif declared.rate is not None:
        rate = declared.rate
        _, values = _cut(np.arange(len(values)) / rate, values, declared)
    else:
        raise PairsError(
            "the sampling rate is not known",
            got="neither a time column nor a rate",
            expected='"rate": samples a second',
            do="declare it in the sample, or for a whole folder in a file imu.json there",
        )
    parts = np.split(values.astype(np.float32), len(measured), axis=1)
    by_name: dict[str, Any] = {name: np.ascontiguousarray(part) for name, part in zip(measured, parts, strict=True)}
    return Recording(rate, by_name.get("acceleration"), by_name.get("gyroscope")).checked()


def _cut(time: np.ndarray, values: np.ndarray, declared: Declared) -> tuple[np.ndarray, np.ndarray]:
    """The rows from start to before start + duration, where time (T,) begins at 0."""
    if not declared.start and declared.duration is None:
        return time, values
    period = float(np.median(np.diff(time))) if len(time) > 1 else 0.0
    end = float(time[-1]) + period if declared.duration is None else declared.start + declared.duration
    if not -1.5 * period < declared.start < end <= time[-1] + 1.5 * period:
        raise PairsError(
            "the window is not in the recording",
            got=f"{declared.start:g} to {end:g} s",
            expected=f"within 0 to {time[-1] + period:.3f} s",
        )
    near = 0.01 * period  # stamps of 0.30000000000000004 s are 0.3 s
    inside = (time >= declared.start - near) & (time < end - near)
    return time[inside], values[inside]
