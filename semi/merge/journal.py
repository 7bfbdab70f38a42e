"""Lines of JSON that outlast the run that wrote them, however it ended."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Self

from semi.artifacts.files import output_error


class Journal:
    """Adds lines to a file; a line that was cut short is forgotten when it is opened again.

    Attributes:
        path: the file.
        lines: what is there, in order.

    Raises:
        OutputError: the file cannot be written to.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines: list[dict[str, Any]] = []
        try:
            self._file = open(path, "a+b")  # noqa: SIM115 - open between calls, closed by `close`
            self._file.seek(0)
            whole = 0
            for line in self._file:
                if not line.endswith(b"\n"):
                    break
                self.lines.append(json.loads(line))
                whole += len(line)
            self._file.truncate(whole)
        except OSError as error:
            raise output_error(path, error) from error

    def add(self, *lines: dict[str, Any]) -> None:
        """Write lines and wait until they are on the disk.

        Raises:
            OutputError: the disk is full or the place cannot be written to.
        """
        try:
            self._file.write(b"".join(json.dumps(line, allow_nan=False).encode() + b"\n" for line in lines))
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise output_error(self.path, error) from error
        self.lines += lines

    def clear(self) -> None:
        """Forget all lines.

        Raises:
            OutputError: as `add`.
        """
        try:
            self._file.truncate(0)
        except OSError as error:
            raise output_error(self.path, error) from error
        self.lines = []

    def close(self) -> None:
        """Close the file, which stays."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
