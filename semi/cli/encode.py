"""`semi encode`: embeddings computed once and kept."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from semi.cli._common import FORCE, QUIET, progress
from semi.errors import InputError

if TYPE_CHECKING:
    from semi.encoding import Engine
    from semi.modality import Encoder


class EngineName(StrEnum):
    """What computes the embeddings."""

    local = "local"
    ray = "ray"


class FormatName(StrEnum):
    """What the shards are."""

    safetensors = "safetensors"
    parquet = "parquet"


def command(
    modality: Annotated[str, typer.Argument(help="What the samples are, e.g. molecules; `semi plugins` lists them.")],
    data: Annotated[str, typer.Argument(help="A .jsonl or .csv file, or a data set, e.g. molecules:validation.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder to write.")],
    encoder: Annotated[str | None, typer.Option("--encoder", help="One of the modality's encoders.")] = None,
    split: Annotated[str, typer.Option("--split", help="train, validation or test, of a data set.")] = "train",
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Encode only the first N pairs.")] = None,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave out pairs that cannot be used.")] = False,
    engine: Annotated[
        EngineName, typer.Option("--engine", help="This process, or workers of Ray Data (extra `ray`).")
    ] = EngineName.local,
    workers: Annotated[
        int | None,
        typer.Option("--workers", min=1, help="Processes of --engine ray, each with an encoder; 2 if not given."),
    ] = None,
    format: Annotated[
        FormatName | None,
        typer.Option("--format", help="Of the shards; not given: parquet with --engine ray, else safetensors."),
    ] = None,
    shard_size: Annotated[int, typer.Option("--shard-size", min=1, help="Samples a shard.")] = 512,
    force: FORCE = False,
    quiet: QUIET = False,
) -> None:
    """Embed the samples of a pairs file or data set; a killed run resumes when started again."""
    from semi.artifacts import require_free
    from semi.encoding import write_encoded
    from semi.pairs_io import read_pairs
    from semi.plugins import load_modality

    require_free(out, force=force)
    with _engine(engine, workers, modality, encoder) as chosen:
        kind = load_modality(modality)
        found = read_pairs(data, modality=kind, split=split, skip_bad=skip_bad)
        pairs = found.pairs[:limit]
        loaded = kind.encoder(encoder)
        with progress(f"Encoding with {loaded.id}", len(pairs), quiet=quiet) as bar:
            shape = write_encoded(
                kind,
                loaded,
                pairs,
                out,
                shard_size=shard_size,
                format=format or (FormatName.parquet if chosen else FormatName.safetensors),
                engine=chosen,
                force=force,
                progress=bar.to,
            )
    for problem in found.skipped:
        typer.echo(f"skipped {problem}", err=True)
    skipped = f" ({len(found.skipped)} skipped)" if found.skipped else ""
    typer.echo(f"{out}: {' x '.join(map(str, shape))} embeddings{skipped}")


@contextmanager
def _engine(name: EngineName, workers: int | None, modality: str, encoder: str | None) -> Iterator[Engine | None]:
    """The engine, None for this process; while Ray's runs, what it says of its own accord goes to stderr."""
    if name == EngineName.local:
        if workers is not None:
            raise InputError("--workers is of --engine ray", got=f"--workers {workers}", do="add --engine ray")
        yield None
        return
    # Ray's core logs by itself that actors are started anew, which `semi.encoding.on_ray` counts and reports.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    from semi.encoding.on_ray import RayEngine

    engine = RayEngine(partial(_load, modality, encoder), workers=workers or 2)
    logging.getLogger("ray").setLevel(logging.ERROR)
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    with redirect_stdout(sys.stderr):
        yield engine


def _load(modality: str, encoder: str | None) -> Encoder:
    from semi.plugins import load_modality

    return load_modality(modality).encoder(encoder)
