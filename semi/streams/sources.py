"""Stamped samples out of files, as a sensor once gave them: what a replay pushes into a stream."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from itertools import chain
from pathlib import Path
from typing import TypeAlias

import numpy as np

from semi.errors import InputError, PairsError
from semi.modality import Modality

Source: TypeAlias = Iterator[tuple[int, np.ndarray]]
"""Stamps in ns and samples (channels,), in the order in which they came, which need not be that of the stamps."""

STAMPS = {"stamp_ns": 0, "time": 9}
"""Names of the column of stamps in a table, and the power of ten that makes its numbers ns."""


def open_source(path: str | Path, modality: Modality, *, topic: str | None = None) -> Source:
    """The samples of a file: a table of stamps and values, or a recording of a kind that the modality's plugin reads.

    The first sample is read at once, so that what is no source is refused before anything else is loaded.

    Args:
        path: a .csv or .npz file (see `table`), or e.g. a rosbag2 folder or MCAP file of the modality imu.
        topic: which samples of a recording; None: the only ones.

    Raises:
        InputError: the modality reads no recordings, or lacks a package for it.
        PairsError: the file is missing, damaged, holds no samples, or not those of this topic.
    """
    path = Path(path)
    if path.suffix in TABLES:
        if topic is not None:
            raise InputError(f"{path} has no topics", got=topic, expected="a topic for recordings, none for tables")
        source = table(path)
    else:
        source = modality.samples(path, topic)
    first = next(source, None)
    if first is None:
        raise PairsError(f"{path} holds no samples", got=topic)
    return chain([first], source)


def table(path: Path) -> Source:
    """The rows of a table, values in the units of the modality's windows.

    A .csv file has a header with `stamp_ns` (whole ns) or `time` (s); every other column is a channel, and an empty
    cell is NaN. An .npz file has `stamps` (n,) in whole ns and `values` (n, channels).

    Raises:
        PairsError: missing, damaged or not such a table; names the line. At the first sample at the latest.
    """
    return TABLES[path.suffix](path)


def _csv(path: Path) -> Source:
    """Row by row: a recording of hours is never in memory."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.reader(file, strict=True)
            header = [name.strip().lower() for name in next(rows, [])]
            stamped = [name for name in header if name in STAMPS]
            if len(stamped) != 1 or len(header) < 2:
                expected = f"one column {' or '.join(STAMPS)}, and one for each channel"
                raise PairsError(f"{path} has no stamps or no values", got=", ".join(header)[:120], expected=expected)
            place, power = header.index(stamped[0]), STAMPS[stamped[0]]
            for row in rows:
                if row:
                    yield _parsed(row, len(header), place, power, f"line {rows.line_num} of {path}")
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise PairsError(f"{path} cannot be read as a table", got=error, expected="a table in UTF-8") from error


def _parsed(row: list[str], width: int, place: int, power: int, where: str) -> tuple[int, np.ndarray]:
    if len(row) != width:
        raise PairsError(f"{where} has another number of cells", got=len(row), expected=width)
    stamp, cells = row[place], [*row[:place], *row[place + 1 :]]
    try:
        # not by way of a float, which tells seconds since 1970 to 240 ns only
        return int(Decimal(stamp).scaleb(power)), np.array([float(cell.strip() or "nan") for cell in cells])
    except (ValueError, OverflowError, InvalidOperation) as error:
        raise PairsError(f"{where} holds something else than numbers", got=",".join(row)[:120]) from error


def _npz(path: Path) -> Source:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            stamps, values = arrays["stamps"], arrays["values"]
    except (OSError, ValueError, EOFError, KeyError) as error:
        expected = "the arrays stamps (n,) and values (n, channels)"
        do = "write it with numpy.savez(path, stamps=stamps, values=values)"
        raise PairsError(f"{path} cannot be read", got=error, expected=expected, do=do) from error
    whole = stamps.ndim == 1 and stamps.dtype.kind in "iu"
    if not whole or values.ndim != 2 or values.dtype.kind not in "fiu" or len(values) != len(stamps):
        raise PairsError(
            f"{path} holds no stamped samples",
            got=f"stamps {stamps.shape} of {stamps.dtype}, values {values.shape} of {values.dtype}",
            expected="stamps (n,) in whole ns, and numbers (n, channels)",
        )
    return zip(stamps.tolist(), values.astype(np.float64), strict=True)


TABLES = {".csv": _csv, ".npz": _npz}
