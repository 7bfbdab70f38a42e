"""Results that a killed run keeps: a line of JSON each."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from semi.errors import InputError


class Results:
    """Records in a file of JSON lines, found again by what they are about.

    Args:
        path: the file.
        settings: what all records depend on; its first line.
        say: told each record when it is made.

    Raises:
        InputError: the file has records of other settings.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any], say: Callable[[str], None] = lambda text: None) -> None:
        self._path, self._say, self.records = path, say, self.read(path)
        if self.records:
            _cut(path)
        found = self.once({"about": "settings"}, dict, settings)
        if differing := {name for name in settings if found.get(name) != settings[name]}:
            raise InputError(
                f"{path} holds results of other settings",
                got="; ".join(f"{name}: {found.get(name)} there, {settings[name]} now" for name in sorted(differing)),
                do="measure with the same settings, or move the file away",
            )

    @staticmethod
    def read(path: Path) -> list[dict[str, Any]]:
        """The records of a file; of none, none. A last line that a kill has cut short does not count."""
        data = path.read_bytes() if path.exists() else b""
        return [json.loads(line) for line in data[: data.rfind(b"\n") + 1].splitlines()]

    def find(self, **about: Any) -> dict[str, Any] | None:
        """The record with these entries."""
        return next((record for record in self.records if about.items() <= record.items()), None)

    def once(self, about: Mapping[str, Any], work: Callable[..., Mapping[str, Any]], *arguments: Any) -> dict[str, Any]:
        """The record about something, made now by `work(*arguments)` if it is not there."""
        if (found := self.find(**about)) is not None:
            return found
        record = {**about, **work(*arguments)}
        self._path.parent.mkdir(parents=True, exist_ok=True)
        line = json.dumps(record, allow_nan=False)
        with open(self._path, "ab") as file:
            file.write(line.encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        self.records.append(record)
        self._say(line[:200])
        return record


def _cut(path: Path) -> None:
    data = path.read_bytes()
    os.truncate(path, data.rfind(b"\n") + 1)
