"""`semi merge add`, `remove` and `diff`: models that come to a merge and go, and what that changes."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from semi.cli._common import FORCE, JSON, QUIET, emit_json, print_table, progress
from semi.cli.merge_read import BASE, MERGED

if TYPE_CHECKING:
    from semi.merge.difference import Difference

OUT = Annotated[
    Path | None, typer.Option("--out", "-o", help="The folder to write; without it the merge itself is changed.")
]


def add(
    folder: MERGED,
    config: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="A YAML file: an entry of `models`, and `residual`, a share of entries (0.05)."
        ),
    ],
    out: OUT = None,
    base: BASE = None,
    force: FORCE = False,
    quiet: QUIET = False,
) -> None:
    """Add a model; all others come back as before, bit for bit."""
    from semi.merge.adding import AddConfig, add_model
    from semi.merge.verify import beyond_base
    from semi.yaml_config import read_config

    read = read_config(config, AddConfig)
    with progress("Adding", quiet=quiet, in_bytes=True) as bar:
        found = add_model(folder, read, out, base=base, force=force, advance=bar.to)
    figures = ", ".join(f"{name} {_figure(found['figures'][name])}" for name in ("residual", "cosine", "density"))
    typer.echo(f"{out or folder}: {read.name} added, {found['bytes'] / 1e6:,.2f} MB; {figures}")
    for note in found["notes"]:
        typer.echo(f"note: {note}")
    if found["high"]:
        typer.echo(f"warning: residual above verify.max_residual: {found['high'][0]}", err=True)
    if far := beyond_base({read.name: found["figures"]}):
        typer.echo(f"warning: residual above 1, further from the model than the base is: {far[0]}", err=True)


def remove(
    folder: MERGED,
    model: Annotated[str, typer.Argument(metavar="MODEL", help="The name of one of its models.")],
    out: OUT = None,
    force: FORCE = False,
) -> None:
    """Remove a model; of one that was added, nothing remains."""
    from semi.merge.removing import remove_model

    merged = remove_model(folder, model, out, force=force)
    typer.echo(f"{out or folder}: {model} removed")
    if merged:
        typer.echo(f"note: the shared vector was made of {model}, too, and stays as it is, as do all other models")


def diff(
    one: Annotated[Path, typer.Argument(metavar="A", help="What `semi merge run` wrote.")],
    other: Annotated[Path, typer.Argument(metavar="B", help="Another one.")],
    as_json: JSON = False,
    quiet: QUIET = False,
) -> None:
    """In what two merges differ. Exit code 1 if they do."""
    from semi.merge.artifact import Artifact
    from semi.merge.difference import compare

    with (
        Artifact.open(one) as first,
        Artifact.open(other) as second,
        progress("Comparing", quiet=quiet or as_json) as bar,
    ):
        found = compare(first, second, advance=bar.to)
    if as_json:
        emit_json(asdict(found) | {"equal": found.equal})
    else:
        _show(found)
    if not found.equal:
        raise typer.Exit(1)


def _show(found: Difference) -> None:
    if found.equal:
        typer.echo("equal")
        return
    rows: list[tuple[object, ...]] = [(name, *pair) for name, pair in found.settings.items()]
    rows += [("models", *(", ".join(names) for names in found.models))] if any(found.models) else []
    rows += [("size", *(f"{count / 1e6:,.2f} MB" for count in found.nbytes))]
    print_table(("differs", "A", "B"), rows)
    for what, names in (("tensors of another form", found.entries), ("files", found.files)):
        if names:
            typer.echo(f"{what}: {', '.join(names[:10])}" + (f" and {len(names) - 10:,} more" if names[10:] else ""))
    columns = ("model", "density A", "density B", "residual A", "residual B", "mask agreement")
    figures = [(name, *map(_figure, (*m.density, *m.residual, m.agreement))) for name, m in found.of_models.items()]
    print_table(columns, figures)
    typer.echo(f"distance of the shared vectors, relative to A's: {_figure(found.distance)}")


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
