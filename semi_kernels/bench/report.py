"""What a run of the bench leaves: rows of plain numbers, as JSON, CSV and a table of the essential columns."""

from __future__ import annotations

import csv
import json
import os
import platform
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from semi_kernels.bench import hardware

Row = dict[str, Any]
COLUMNS = (
    *("kernel", "provider", "mode", "M", "K", "N", "hidden", "r", "G", "dtype", "quantisation", "isometry", "launch"),
    *("p20_us", "p50_us", "p80_us", "bytes", "flops", "floor_us", "floor_terms", "percent_of_floor", "roof_us"),
    *("ceiling", "max_error", "launches", "versus", "note"),
)
KEY = COLUMNS[:13]
"""What identifies a measurement."""


def environment(device: torch.device) -> dict[str, Any]:
    """Where and with what it was measured; None where there is no such thing or it cannot be told."""
    cuda = device.type == "cuda"
    return {
        "gpu": torch.cuda.get_device_name(device) if cuda else None,
        "driver": hardware.nvidia_smi("driver_version") if cuda else None,
        "torch": torch.__version__,
        "triton": installed("triton"),
        "bitsandbytes": installed("bitsandbytes"),
        "revision": revision(),
        "cpu": f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads",
        "python": platform.python_version(),
    }


def installed(package: str) -> str | None:
    """Its version; None where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def revision() -> str | None:
    """The git commit of this code, with "-dirty" where files differ from it; None outside a repository."""
    here = Path(__file__).resolve().parent
    command = ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=9", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout.strip() or None
    except (OSError, subprocess.SubprocessError):
        return None


def document(device: torch.device, rows: Sequence[Row], notes: Sequence[str] = ()) -> dict[str, Any]:
    """The whole of a run."""
    roofs = hardware.of(device)
    floors = {"gpu": roofs.name, "bandwidth": roofs.bandwidth, "peak": roofs.peak, "roofs": roofs.source}
    return {**environment(device), "floors": floors, "notes": list(notes), "rows": list(rows)}


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Atomically: the file holds its old content or all of the new."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    temporary.write_text(json.dumps(value, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    os.replace(temporary, path)


def write_csv(path: Path, rows: Iterable[Row]) -> None:
    """One line a row; the terms of the floor as JSON in their cell."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    with open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        for row in rows:
            writer.writerow({**row, "floor_terms": json.dumps(row["floor_terms"])})
    os.replace(temporary, path)


def read(path: Path) -> dict[str, Any]:
    """A document that `write_json` wrote.

    Raises:
        ValueError: the file is missing or is no such document.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as problem:
        raise ValueError(f"bench: got {path}, expected a JSON file that the bench wrote: {problem}") from problem
    rows = found.get("rows") if isinstance(found, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) and set(KEY) <= set(row) for row in rows):
        raise ValueError(f'bench: got {path} without "rows" of {", ".join(KEY)}, expected what `semi bench` writes')
    document: dict[str, Any] = found
    return document


def key(row: Row) -> tuple[Any, ...]:
    """What identifies a measurement, to match rows of two runs."""
    return tuple(row[name] for name in KEY)
