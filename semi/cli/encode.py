"""`semi encode`: embeddings computed once and kept."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from semi.cli._common import FORCE, QUIET, progress


def command(
    modality: Annotated[str, typer.Argument(help="What the samples are, e.g. molecules; `semi plugins` lists them.")],
    data: Annotated[str, typer.Argument(help="A .jsonl or .csv file, or a data set, e.g. molecules:validation.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder to write.")],
    encoder: Annotated[str | None, typer.Option("--encoder", help="One of the modality's encoders.")] = None,
    split: Annotated[str, typer.Option("--split", help="train, validation or test, of a data set.")] = "train",
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Encode only the first N pairs.")] = None,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave out pairs that cannot be used.")] = False,
    force: FORCE = False,
    quiet: QUIET = False,
) -> None:
    """Embed the samples of a pairs file or data set; a killed run resumes when started again."""
    from semi.artifacts import require_free
    from semi.encoding import encode
    from semi.pairs_io import read_pairs
    from semi.plugins import load_modality

    require_free(out, force=force)
    kind = load_modality(modality)
    found = read_pairs(data, modality=kind, split=split, skip_bad=skip_bad)
    pairs = found.pairs[:limit]
    loaded = kind.encoder(encoder)
    with progress(f"Encoding with {loaded.id}", len(pairs), quiet=quiet) as bar:
        encoded = encode(kind, loaded, pairs, out, force=force, progress=bar.to)
    for problem in found.skipped:
        typer.echo(f"skipped {problem}", err=True)
    shape = " x ".join(map(str, encoded.embeddings.shape))
    skipped = f" ({len(found.skipped)} skipped)" if found.skipped else ""
    typer.echo(f"{out}: {shape} embeddings{skipped}")
