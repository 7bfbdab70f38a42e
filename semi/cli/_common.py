"""What every verb shares: how errors end the program, progress bars, tables, JSON, and options of the same name."""

from __future__ import annotations

import errno
import json
import os
import sys
import traceback
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ContextDecorator, contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from semi.errors import SemiError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

JSON = Annotated[bool, typer.Option("--json", help="Print the result as JSON and nothing else.")]
QUIET = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]
FORCE = Annotated[bool, typer.Option("--force", help="Start afresh where the output folder is taken by another run.")]
SEED = Annotated[int, typer.Option("--seed", "-s", min=0, help="The same seed gives the same result.")]

_GOOD, _BAD = ("ok", "available"), ("fail", "failed", "clash", "incompatible")
_COLOURS = dict.fromkeys(_GOOD, "green") | {"warn": "yellow"} | dict.fromkeys(_BAD, "red")
INTERRUPTED = 130  # 128 + SIGINT, as shells report it


class _Guard(ContextDecorator):
    """Turns whatever a verb raises into one message on stderr and an exit code: `@guard` or `with guard:`."""

    def __enter__(self) -> None:
        # stderr is for semi's own messages. transformers reads these when it is imported, which no verb has done yet.
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
        os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        # Typer ends these in its own way, a closed pipe (`semi plugins | head`) without any message.
        if error is None or isinstance(error, typer.Exit | typer.Abort | typer.BadParameter | BrokenPipeError):
            return
        if isinstance(error, KeyboardInterrupt):
            typer.echo("interrupted; the same command goes on where it can", err=True)
            raise typer.Exit(INTERRUPTED) from error
        if not isinstance(error, Exception):
            return
        if os.environ.get("SEMI_DEBUG") == "1":
            traceback.print_exception(error)
        typer.echo(f"error: {_message(error)}", err=True)
        raise typer.Exit(error.exit_code if isinstance(error, SemiError) else 1) from error


guard = _Guard()


def _message(error: Exception) -> str:
    if isinstance(error, SemiError):
        return str(error)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        where = f" while writing {error.filename}" if error.filename else ""
        return f"the disk is full{where}\n  do this: make room and run the same command again"
    first_line = (str(error).splitlines() or [""])[0]
    return f"{type(error).__name__}: {first_line} (set SEMI_DEBUG=1 for the traceback)"


class Advance:
    """Moves a progress bar, or nothing where none is shown."""

    def __init__(self, bar: Progress | None = None, task: TaskID | None = None) -> None:
        self._bar, self._task = bar, task

    def __call__(self, amount: float = 1) -> None:
        """Go on by `amount` of the total."""
        if self._bar is not None and self._task is not None:
            self._bar.advance(self._task, amount)

    def to(self, done: float, total: float | None = None, description: str | None = None) -> None:
        """Show `done` in all; a total or a description that is given replaces the one shown."""
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=done, total=total, description=description)


@contextmanager
def progress(
    description: str, total: float | None = None, *, quiet: bool = False, in_bytes: bool = False
) -> Iterator[Advance]:
    """A progress bar on stderr, only where that is a terminal: `with progress("Encoding", n) as advance: advance()`.

    Args:
        description: what is being done.
        total: how much there is to do; None where that is not known (yet).
        quiet: show nothing (--quiet, --json).
        in_bytes: count in bytes and show their rate.
    """
    if quiet or not sys.stderr.isatty():
        yield Advance()
        return
    from rich import progress as parts

    count = (parts.DownloadColumn(), parts.TransferSpeedColumn()) if in_bytes else (parts.MofNCompleteColumn(),)
    columns = (parts.TextColumn("{task.description}"), parts.BarColumn(), *count, parts.TimeRemainingColumn())
    with parts.Progress(*columns, console=console(stderr=True)) as bar:
        yield Advance(bar, bar.add_task(description, total=total))


def console(*, stderr: bool = False) -> Console:
    """A rich console; rich is imported here, not with the command line."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table for people; None is an empty cell, and the states of plugins and checks are coloured.

    Not by rich: its import would double the time of `semi plugins`, and it folds lines where nobody looks.
    """
    cells = [list(columns), *(["" if cell is None else str(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for number, row in enumerate(cells):
        padded = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        padded[-1] = row[-1]
        painted = [
            typer.style(text, fg=_COLOURS.get(cell), bold=number == 0) for text, cell in zip(padded, row, strict=True)
        ]
        typer.echo("  ".join(painted))


def emit_json(value: Any) -> None:
    """One JSON document on stdout."""
    typer.echo(json.dumps(value, indent=2, allow_nan=False))
