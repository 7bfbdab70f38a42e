"""`semi demo`: a modality from 32 pairs, in a table and a report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from semi.cli._common import BASE, FOUNDATION, JSON, LANGUAGE_MODEL, QUIET, SEED, emit_json, print_table, progress
from semi.errors import OutputError


def command(
    dataset: Annotated[str, typer.Argument(help="A data set that a plugin registered.")] = "molecules",
    shots: Annotated[int, typer.Option("--shots", "-k", min=2, help="Pairs to learn from.")] = 32,
    seed: SEED = 0,
    held_out: Annotated[int, typer.Option("--held-out", min=1, help="Test samples to score.")] = 64,
    foundation: FOUNDATION = "smollm2-135m",
    language_model: LANGUAGE_MODEL = None,
    base: BASE = None,
    report: Annotated[Path, typer.Option("--report", help="The HTML file to write.")] = Path("report.html"),
    as_json: JSON = False,
    quiet: QUIET = False,
) -> None:
    """Watch a frozen language model learn a kind of data, beside a projector trained from scratch on the same pairs."""
    from semi.artifacts import write_bytes
    from semi.demo import PLAN, as_dict, demonstrate
    from semi.foundation import Foundation
    from semi.report import render

    if not report.parent.is_dir() or report.is_dir():
        raise OutputError(
            f"{report} cannot be written",
            got="a folder" if report.is_dir() else f"{report.parent} is not a folder",
            do="name a file in an existing folder with --report",
        )
    with progress("Loading", 2 * len(PLAN), quiet=quiet or as_json, stages=True) as bar:
        demo = demonstrate(
            Foundation.load(foundation, language_model=language_model, base=base),
            dataset,
            shots=shots,
            seed=seed,
            held_out=held_out,
            advance=lambda done, note: bar.to(done, description=note),
        )
    write_bytes(report, render(demo).encode())
    if as_json:
        emit_json(as_dict(demo))
        return
    typer.echo(f"{dataset}: {shots} pairs, seed {seed}; {len(demo.held_out)} held-out samples\n")
    print_table(
        ("", "loss", "shuffled", "ROUGE-L", "attributes", "seconds"),
        [
            (
                row.name,
                f"{row.scores.loss:.2f}",
                f"{row.scores.loss_shuffled:.2f}",
                _number(row.scores.rouge_l),
                _number(row.scores.attribute_accuracy),
                f"{row.seconds:.1f}",
            )
            for row in demo.rows
        ],
    )
    for pair, text in list(zip(demo.held_out, demo.adapted.scores.texts, strict=True))[:5]:
        typer.echo(f"\n{pair.sample}\n  true: {pair.caption}\n  said: {text}")
    typer.echo(f"\n{report}: pictures and the learning curve")


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
