"""`semi train projector` and `semi train hypernetwork`: the two trainings of a foundation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from semi.cli._common import FORCE, QUIET, progress

if TYPE_CHECKING:
    from semi.training.loop import History

app = typer.Typer(help="Train the parts of a foundation.", no_args_is_help=True)
CONFIG = Annotated[Path, typer.Argument(help="A YAML file; recipes/ holds those of the shipped foundation.")]
OUT = Annotated[Path, typer.Option("--out", "-o", help="The folder to write; an interrupted run resumes.")]
SET = Annotated[
    list[str] | None, typer.Option("--set", help="A setting in place of the file's, e.g. seed=1; may be given again.")
]


@app.command("projector")
def projector(config: CONFIG, out: OUT, changes: SET = None, force: FORCE = False, quiet: QUIET = False) -> None:
    """Train the shared projector on all sources together."""
    _require_free(out, force=force)
    from semi.training.run import run_projector

    _run(run_projector, config, out, changes or [], force=force, quiet=quiet)


@app.command("hypernetwork")
def hypernetwork(config: CONFIG, out: OUT, changes: SET = None, force: FORCE = False, quiet: QUIET = False) -> None:
    """Train the hypernetwork on a frozen projector; writes a complete foundation."""
    _require_free(out, force=force)
    from semi.training.run import run_hypernetwork

    _run(run_hypernetwork, config, out, changes or [], force=force, quiet=quiet)


def _require_free(out: Path, *, force: bool) -> None:
    from semi.artifacts import require_free

    require_free(out, force=force)


def _run(run: Callable[..., History], config: Path, out: Path, changes: list[str], *, force: bool, quiet: bool) -> None:
    with progress("Training", quiet=quiet) as bar:
        history = run(
            config,
            out,
            changes=changes,
            force=force,
            advance=lambda step, note: bar.to(step, description=f"Training: {note}"),
        )
    best = history.best
    typer.echo(f"{out}: validation loss {best['loss']:.3f} nats a token at step {best['step']:.0f}")
