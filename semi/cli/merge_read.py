"""`semi merge export` and `semi merge verify`: what becomes of a merge, and whether it is sound."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from semi.cli._common import FORCE, JSON, QUIET, emit_json, print_table, progress

if TYPE_CHECKING:
    from semi.merge.verify import Verification

MERGED = Annotated[Path, typer.Argument(metavar="DIR", help="What `semi merge run` wrote.")]
BASE = Annotated[
    Path | None, typer.Option("--base", help="The base's folder, where it is not where the merge found it.")
]
FIGURES = ("residual", "cosine", "density", "not_finite")


def export(
    folder: MERGED,
    modality: Annotated[str, typer.Option("--modality", "-m", help="The name of one of its models.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder to write.")],
    base: BASE = None,
    force: FORCE = False,
    quiet: QUIET = False,
) -> None:
    """Write one modality's model as a plain transformers folder."""
    from semi.merge.artifact import Artifact
    from semi.merge.export import export as write

    with Artifact.open(folder) as artifact, progress("Writing", quiet=quiet, in_bytes=True) as bar:
        written = write(artifact, modality, out, base=base, force=force, advance=bar.to)
    typer.echo(f"{out}: {modality}, {written.tensors:,} tensors, {written.nbytes / 1e6:,.1f} MB")
    typer.echo(f"next: AutoModelForCausalLM.from_pretrained({str(out)!r}), or the class its config.json names")


def verify(
    folder: MERGED,
    base: BASE = None,
    models: Annotated[
        bool, typer.Option("--models", help="Also read the models that were merged, and compute the certificate again.")
    ] = False,
    prompt: Annotated[
        list[str] | None,
        typer.Option(
            "--prompt", help="A text to compare each language model with its original on; may be given again."
        ),
    ] = None,
    as_json: JSON = False,
    quiet: QUIET = False,
) -> None:
    """Check hashes, keys, NaN and how near each model comes back. Exit code 1 if something is not as it should be."""
    from semi.merge.artifact import Artifact
    from semi.merge.verify import verify as check

    with Artifact.open(folder) as artifact, progress("Verifying", quiet=quiet or as_json) as bar:
        found = check(artifact, base=base, models=models, prompts=prompt or (), advance=bar.to)
    if as_json:
        divergence = {name: asdict(figures) for name, figures in found.divergence.items()}
        emit_json(asdict(found) | {"fine": found.fine, "divergence": divergence})
    else:
        _show(found)
        if not (models or prompt):
            typer.echo(f"to compare with the models: semi merge verify {shlex.quote(str(folder))} --models")
    if not found.fine:
        raise typer.Exit(1)


def _show(found: Verification) -> None:
    print_table(("check", "state", "found"), [(check.name, check.state, check.found) for check in found.checks])
    figures = (found.again or found.certificate)["models"]
    columns = ("model", *FIGURES, *(("KL", "agreement") if found.divergence else ()))
    rows = []
    for name, own in figures.items():
        text = found.divergence.get(name)
        more = () if text is None else (text.nats, text.agreement)
        rows.append((name, *(_figure(value) for value in (*(own[figure] for figure in FIGURES), *more))))
    print_table(columns, rows)
    if found.divergence:
        tokens = next(iter(found.divergence.values())).tokens
        typer.echo(f"KL divergence in nats a token, and how often both expect the same one, over {tokens} tokens")


def _figure(value: float | int | None) -> str:
    return "-" if value is None else f"{value:.4g}"
