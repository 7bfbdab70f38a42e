"""What a study has measured: one JSON line a cell, whole on the disk before the next is begun."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from semi.artifacts import write_bytes
from semi.artifacts.files import output_error
from semi.errors import ArtifactError

FILE = "results.jsonl"
Line = dict[str, Any]
Identity = Mapping[str, Any]
"""What names a cell: foundation, target, method, shots, seed; for stress also condition and strength."""


def key(identity: Identity) -> str:
    """The identity as text that does not depend on the order of its entries."""
    return json.dumps(identity, sort_keys=True)


class Results:
    """The lines of a folder's results.jsonl, the last of each cell; a line that a kill cut short is not there.

    Raises:
        ArtifactError: another line than the last is no line of a study.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._lines: dict[str, Line] = {}
        self._whole = 0
        for number, raw in enumerate(self._read().splitlines(keepends=True), start=1):
            line = _line(raw)
            if line is None and raw.endswith(b"\n"):
                raise ArtifactError(
                    f"{self._path}, line {number}, is not a line of a study", do="mend the file, or name another folder"
                )
            if line is None:
                break
            self._whole += len(raw)
            self._lines[key(line["cell"])] = line

    def get(self, identity: Identity) -> Line | None:
        """The newest line of a cell."""
        return self._lines.get(key(identity))

    def done(self, identity: Identity) -> bool:
        """Whether the cell has been measured, or found to make no sense; one that failed is not done."""
        line = self.get(identity)
        return line is not None and "error" not in line

    def append(self, lines: Iterable[Line]) -> None:
        """Add lines at the end; they are on the disk when this returns.

        Raises:
            OutputError: the disk is full or the file cannot be written to.
            ValueError: a line holds NaN or infinity.
        """
        new = list(lines)
        data = "".join(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n" for line in new).encode()
        try:
            with open(self._path, "r+b" if self._path.exists() else "w+b") as file:
                file.seek(self._whole)
                file.truncate()  # of what a kill cut short
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise output_error(self._path, error, size=len(data)) from error
        self._whole += len(data)
        self._lines |= {key(line["cell"]): line for line in new}

    def mend(self) -> None:
        """Take what a kill cut short out of the file, as others read it too."""
        if self._path.exists():
            self.append(())

    def drop(self, identities: Iterable[Identity]) -> None:
        """Forget cells, in the file too."""
        for identity in identities:
            self._lines.pop(key(identity), None)
        kept = [json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n" for line in self._lines.values()]
        data = "".join(kept).encode()
        write_bytes(self._path, data)
        self._whole = len(data)

    def _read(self) -> bytes:
        try:
            return self._path.read_bytes()
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise ArtifactError(f"{self._path} cannot be read", got=error.strerror) from error


def _line(raw: bytes) -> Line | None:
    if not raw.endswith(b"\n"):
        return None
    try:
        line = json.loads(raw)
    except ValueError:
        return None
    whole = isinstance(line, dict) and all(isinstance(line.get(name), dict) for name in ("cell", "meaning"))
    return line if whole else None
