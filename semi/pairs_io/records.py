"""Text files into numbered records, and what is wrong with their lines."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from semi.brief import brief
from semi.errors import PairsError

COLUMNS = ("sample", "caption", "instruction", "attributes")
_SHOWN = 5
_SKIP = "mend it, or leave such lines out with --skip-bad"


@dataclass(frozen=True)
class Problem:
    """Why one line or sample cannot be used."""

    where: str
    """E.g. "line 7"."""
    error: PairsError

    def __str__(self) -> str:
        got = "" if self.error.got is None else f" (got {self.error.got})"
        return f"{self.where}: {self.error.what}{got}"


def read_jsonl(path: Path) -> Iterator[tuple[int, dict[str, Any] | PairsError]]:
    """(line number, the object there or what is wrong with it); blank lines are passed over."""
    # Not splitlines(): U+2028 and others are no line ends inside JSON text.
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if line.strip():
            yield number, _object(line)


def read_csv(path: Path) -> Iterator[tuple[int, dict[str, Any] | PairsError]]:
    """(number of the line a row starts on, the row by column or what is wrong with it); empty cells are left out."""
    rows = csv_rows(path)
    if not rows:
        refuse_empty(path)
    (first, header), *body = rows
    header = [cell.strip() for cell in header]
    _refuse_header(path, first, header)
    for number, row in body:
        if len(row) > len(header):
            yield (
                number,
                PairsError(
                    "too many cells",
                    got=len(row),
                    expected=f"{len(header)}: {', '.join(header)}",
                    do='put text that holds a comma in "double quotes"',
                ),
            )
            continue
        fields: dict[str, Any] = {name: cell for name, cell in zip(header, row, strict=False) if cell.strip()}
        yield number, _with_attributes(fields)


def csv_rows(path: Path) -> list[tuple[int, list[str]]]:
    """(number of the line it starts on, cells) of every row that is not blank.

    Raises:
        PairsError: the file is missing, not UTF-8, or its quoting is broken.
    """
    # newline="" leaves line ends inside quoted cells to the csv module.
    reader = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
    rows, start = [], 1
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                rows.append((start, row))
            start = reader.line_num + 1
    except csv.Error as error:
        raise PairsError(
            f"{path}, line {start}: not a CSV row", got=error, do="mend its quotes, or use JSONL, which has no limits"
        ) from error
    return rows


def read_text(path: Path) -> str:
    """The file as text, without a byte order mark.

    Raises:
        PairsError: the file is missing, unreadable, empty or not UTF-8.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise PairsError(f"{path} does not exist", do="check the name; a relative one starts from here") from None
    except OSError as error:
        raise PairsError(f"{path} cannot be read", got=error.strerror or error, expected="a file") from error
    if not data.strip():
        refuse_empty(path)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise PairsError(
            f"{path}, line {line}: not UTF-8",
            got=f"byte {data[error.start]:#04x}",
            do="save the file as UTF-8",
        ) from error


def refuse_empty(path: Path) -> NoReturn:
    """There is not one pair in the file."""
    raise PairsError(f"{path} is empty", got="no pairs", expected='lines like {"sample": ..., "caption": "..."}')


def refuse(path: str | Path, problems: Sequence[Problem], total: int) -> NoReturn:
    """All problems of a file in one error: one in full, or the first few and a count."""
    if len(problems) == 1:
        where, error = problems[0].where, problems[0].error
        raise PairsError(
            f"{path}, {where}: {error.what}", got=error.got, expected=error.expected, do=error.do or _SKIP
        ) from error
    lines = [f"{path}: {len(problems)} of {total} pairs cannot be used", *(f"  {p}" for p in problems[:_SHOWN])]
    if len(problems) > _SHOWN:
        lines.append(f"  and {len(problems) - _SHOWN} more")
    raise PairsError("\n".join(lines), do="mend them, or leave them out with --skip-bad") from problems[0].error


def _object(line: str) -> dict[str, Any] | PairsError:
    try:
        record = json.loads(line, object_pairs_hook=_no_key_twice, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        return PairsError(f"not JSON: {error.msg}, column {error.colno}", got=brief(line))
    except (ValueError, RecursionError) as error:
        return PairsError(f"not JSON that can be used: {error}", got=brief(line))
    if not isinstance(record, dict):
        return PairsError("not a JSON object", got=brief(line), expected='{"sample": ..., "caption": "..."}')
    return record


def _no_key_twice(items: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(items)
    if len(record) < len(items):
        names = [name for name, _ in items]
        raise ValueError(f"key {next(name for name in names if names.count(name) > 1)!r} is there twice")
    return record


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a finite number")


def _refuse_header(path: Path, number: int, header: list[str]) -> None:
    unknown = [name for name in header if name not in COLUMNS]
    missing = [name for name in COLUMNS[:2] if name not in header]
    if not unknown and not missing and len(set(header)) == len(header):
        return
    other = len(header) == 1 and any(mark in header[0] for mark in ";\t")
    raise PairsError(
        f"{path}, line {number}: the header does not name the columns of pairs",
        got=", ".join(header),
        expected="sample, caption and, if you like, instruction and attributes",
        do="separate the columns with commas" if other else "name the columns so in the first line",
    )


def _with_attributes(fields: dict[str, Any]) -> dict[str, Any] | PairsError:
    if "attributes" in fields:
        attributes = _object(fields["attributes"])
        if isinstance(attributes, PairsError):
            return PairsError(
                f"attributes: {attributes.what}", got=attributes.got, expected='{"family": "ester"}', do=attributes.do
            )
        fields["attributes"] = attributes
    return fields
