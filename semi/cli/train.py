"""`semi train projector` and `semi train hypernetwork`: the two trainings of a foundation."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from semi.cli._common import FORCE, QUIET, progress
from semi.errors import InputError

if TYPE_CHECKING:
    from semi.training.loop import History

app = typer.Typer(help="Train the parts of a foundation.", no_args_is_help=True)
CONFIG = Annotated[Path, typer.Argument(help="A YAML file; recipes/ holds those of the shipped foundation.")]
OUT = Annotated[Path, typer.Option("--out", "-o", help="The folder to write; an interrupted run resumes.")]
SET = Annotated[
    list[str] | None, typer.Option("--set", help="A setting in place of the file's, e.g. seed=1; may be given again.")
]
LAUNCH = Annotated[
    int | None,
    typer.Option(
        "--launch", min=1, help="Train on so many processes of this machine; elsewhere, start it by torchrun."
    ),
]
FSDP = Annotated[
    bool, typer.Option("--fsdp", help="Shard the frozen language model over the processes, where one cannot hold it.")
]
TRACK = Annotated[
    str | None,
    typer.Option("--track", help="Show curves in tensorboard:FOLDER, wandb:PROJECT or trackio:PROJECT."),
]


@app.command("projector")
def projector(
    config: CONFIG,
    out: OUT,
    changes: SET = None,
    launch: LAUNCH = None,
    fsdp: FSDP = False,
    track: TRACK = None,
    force: FORCE = False,
    quiet: QUIET = False,
) -> None:
    """Train the shared projector on all sources together."""
    _run("projector", config, out, changes or [], launch=launch, fsdp=fsdp, track=track, force=force, quiet=quiet)


@app.command("hypernetwork")
def hypernetwork(
    config: CONFIG,
    out: OUT,
    changes: SET = None,
    launch: LAUNCH = None,
    fsdp: FSDP = False,
    track: TRACK = None,
    force: FORCE = False,
    quiet: QUIET = False,
) -> None:
    """Train the hypernetwork on a frozen projector; writes a complete foundation."""
    _run("hypernetwork", config, out, changes or [], launch=launch, fsdp=fsdp, track=track, force=force, quiet=quiet)


Part = Literal["projector", "hypernetwork"]


def _run(
    part: Part,
    config: Path,
    out: Path,
    changes: list[str],
    *,
    launch: int | None,
    fsdp: bool,
    track: str | None,
    force: bool,
    quiet: bool,
) -> None:
    from semi.artifacts import require_free

    require_free(out, force=force)
    work = partial(_train, part, config, out, changes, fsdp=fsdp, track=track, force=force, quiet=quiet)
    best = work() if launch is None else _launched(launch, work)
    if best:
        typer.echo(f"{out}: validation loss {best['loss']:.3f} nats a token at step {best['step']:.0f}")


def _train(
    part: Part, config: Path, out: Path, changes: list[str], *, fsdp: bool, track: str | None, force: bool, quiet: bool
) -> dict[str, float] | None:
    """The best validation; None on all processes but the first."""
    from semi.tracking import tracked
    from semi.training.distributed import joined
    from semi.training.run import run_hypernetwork, run_projector

    run = run_projector if part == "projector" else run_hypernetwork
    with (
        joined(fsdp=fsdp) as processes,
        progress("Training", quiet=quiet or not processes.first) as bar,
        tracked(
            track if processes.first else None,
            out.name,
            {"recipe": str(config), "set": changes},
            lambda step, note: bar.to(step, description=f"Training: {note}"),
        ) as advance,
    ):
        history: History = run(config, out, changes=changes, force=force, advance=advance, processes=processes)
        return history.best if processes.first else None


def _launched(count: int, work: Callable[[], dict[str, float] | None]) -> dict[str, float] | None:
    import os

    from semi.training.launching import launch

    if "WORLD_SIZE" in os.environ:
        raise InputError(
            "this is one of several processes already", got=f"--launch {count}", do="drop --launch, or torchrun"
        )
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)  # what it tells is in the error
    best: dict[str, float] | None = launch(count, work)
    return best
