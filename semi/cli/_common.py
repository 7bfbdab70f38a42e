"""What every verb shares: how errors end the program, progress bars, tables, JSON, and options of the same name."""

from __future__ import annotations

import errno
import json
import logging
import os
import sys
import time
import traceback
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ContextDecorator, contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from semi.errors import InputError, SemiError
from semi.plugins import PluginWarning

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

LANGUAGE_MODEL = Annotated[
    str | None,
    typer.Option(
        "--language-model",
        help="In place of the one on record: a folder, a hub id, or NAME.mmer#MODALITY of a merge. An integration "
        "needs the same one, wherever it lies now; a foundation takes fine-tunes too.",
    ),
]
BASE = Annotated[
    Path | None, typer.Option("--base", help="The folder of a merge's base, where it is not where the merge found it.")
]
FOUNDATION = Annotated[str, typer.Option("--foundation", help="A registered name, a folder, or OWNER/NAME on the hub.")]
JSON = Annotated[bool, typer.Option("--json", help="Print the result as JSON and nothing else.")]
QUIET = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]
FORCE = Annotated[bool, typer.Option("--force", help="Replace what is in the output folder, once the new is complete.")]
SEED = Annotated[int, typer.Option("--seed", "-s", min=0, help="The same seed gives the same result.")]

_GOOD, _BAD = ("ok", "available", "loaded", "passed"), ("fail", "failed", "clash", "incompatible")
_DOUBTFUL = ("warn", "blocked", "skipped")
_COLOURS = dict.fromkeys(_GOOD, "green") | dict.fromkeys(_DOUBTFUL, "yellow") | dict.fromkeys(_BAD, "red")
INTERRUPTED = 130  # 128 + SIGINT, as shells report it
SECONDS_BETWEEN_LINES = 10
"""In a log. No long wait looks like a hang, and an hour of training is 360 lines."""


class _Guard(ContextDecorator):
    """Turns wrong usage and whatever a verb raises into one message on stderr and an exit code: `with guard:`."""

    def __enter__(self) -> None:
        self._showwarning = warnings.showwarning
        warnings.showwarning = self._show
        # stderr is for semi's own messages. transformers reads these when it is imported, which no verb has done yet.
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
        os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
        # On some CPUs its import warns of an optional package that nothing here uses.
        logging.getLogger("bitsandbytes").setLevel(logging.ERROR)

    def _show(self, message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
        if issubclass(category, PluginWarning):
            typer.echo(f"warning: {message}", err=True)
        else:
            self._showwarning(message, category, *where, **more)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        warnings.showwarning = self._showwarning
        # Typer ends these in its own way, a closed pipe (`semi plugins | head`) without any message.
        if error is None or isinstance(error, typer.Exit | typer.Abort | BrokenPipeError):
            return
        if isinstance(error, KeyboardInterrupt):
            typer.echo("interrupted; the same command, without --force, goes on where it can", err=True)
            raise typer.Exit(INTERRUPTED) from error
        if not isinstance(error, Exception):
            return
        # Of click, or of the copy that typer keeps of it: known by the method that both document.
        if hasattr(error, "format_message"):
            if message := error.format_message():  # none where help was asked for by giving nothing, and shown
                typer.echo(f"error: {_usage(message, getattr(error, 'ctx', None))}", err=True)
            raise typer.Exit(InputError.exit_code) from error
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


def _usage(message: str, context: typer.Context | None) -> InputError:
    what = " ".join(message.split()).rstrip(".")
    command = context.command_path if context else "semi"
    return InputError(what[:1].lower() + what[1:], do=f"`{command} --help` shows what it takes")


class Advance:
    """Tells how far the work is; this one tells nobody."""

    def to(self, done: float, total: float | None = None, description: str | None = None) -> None:
        """Show `done` in all; a total or a description that is given replaces the one shown."""


class _Bar(Advance):
    def __init__(self, bar: Progress, task: TaskID) -> None:
        self._bar, self._task = bar, task

    def to(self, done: float, total: float | None = None, description: str | None = None) -> None:
        self._bar.update(self._task, completed=done, total=total, description=description)


class _Lines(Advance):
    """For logs: a line now and then, and at the beginning of each stage. What is done sooner needs none."""

    def __init__(self, description: str, total: float | None, *, in_bytes: bool, stages: bool) -> None:
        self._description, self._total = description, total
        self._in_bytes, self._stages = in_bytes, stages
        self._told, self._done = time.monotonic(), -1.0

    def to(self, done: float, total: float | None = None, description: str | None = None) -> None:
        self._total, self._description = total or self._total, description or self._description
        begins = self._stages and done != self._done
        self._done = done
        if begins or time.monotonic() - self._told >= SECONDS_BETWEEN_LINES:
            self._told = time.monotonic()
            known = [n for n in (done, self._total) if n is not None and self._total != 0]
            counts = " of ".join(f"{n / 1e6:,.1f} MB" if self._in_bytes else f"{n:,.0f}" for n in known)
            typer.echo(", ".join(filter(None, (self._description, counts))), err=True)


@contextmanager
def progress(
    description: str,
    total: float | None = None,
    *,
    quiet: bool = False,
    in_bytes: bool = False,
    stages: bool = False,
) -> Iterator[Advance]:
    """Progress on stderr, a bar on a terminal and lines elsewhere: `with progress("Encoding", n) as bar: bar.to(1)`.

    Args:
        description: what is being done.
        total: how much there is to do; None where that is not known (yet).
        quiet: show nothing (--quiet, --json).
        in_bytes: count in bytes and show their rate.
        stages: count a few stages, each of which is worth a line.
    """
    if quiet:
        yield Advance()
        return
    if not sys.stderr.isatty():
        yield _Lines(description, total, in_bytes=in_bytes, stages=stages)
        return
    from rich import progress as parts

    count = (parts.DownloadColumn(), parts.TransferSpeedColumn()) if in_bytes else (parts.MofNCompleteColumn(),)
    columns = (parts.TextColumn("{task.description}"), parts.BarColumn(), *count, parts.TimeRemainingColumn())
    with parts.Progress(*columns, console=console(stderr=True)) as bar:
        yield _Bar(bar, bar.add_task(description, total=total))


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
