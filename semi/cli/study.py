"""`semi study`: many adaptations side by side, resumable, with statistics, pictures and a report."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from semi.cli._common import JSON, QUIET, emit_json, print_table, progress
from semi.errors import SemiError

app = typer.Typer(help="Compare methods on data that none of them saw.", no_args_is_help=True)
CONFIG = Annotated[Path, typer.Argument(help="A YAML file; studies/ holds those of this repository.")]
OUT = Annotated[Path, typer.Option("--out", "-o", help="The folder to fill; an interrupted study goes on there.")]
PROCESSES = Annotated[
    int | None, typer.Option("--processes", min=0, help="Cells measured at a time, in place of the file's; 0: no pool.")
]
FORCE = Annotated[bool, typer.Option("--force", help="Measure again the cells whose settings or data have changed.")]

Tables = list[tuple[Sequence[str], Sequence[Sequence[Any]]]]
FEW = 10
"""Failures that are named on the terminal; summary.json has them all."""


@app.command("sample-efficiency")
def sample_efficiency(
    config: CONFIG,
    out: OUT,
    processes: PROCESSES = None,
    force: FORCE = False,
    as_json: JSON = False,
    quiet: QUIET = False,
) -> None:
    """How good is each method after how many shots, and how many does a baseline need to match?"""
    from semi.study import efficiency
    from semi.study.config import EfficiencyConfig

    _run(efficiency, EfficiencyConfig, config, out, processes, force=force, as_json=as_json, quiet=quiet)


@app.command("stress")
def stress_command(
    config: CONFIG,
    out: OUT,
    processes: PROCESSES = None,
    force: FORCE = False,
    as_json: JSON = False,
    quiet: QUIET = False,
) -> None:
    """What is left of what was learned under shift, noise, wrong labels, other encoders and attacks."""
    from semi.study import stress
    from semi.study.config import StressConfig

    _run(stress, StressConfig, config, out, processes, force=force, as_json=as_json, quiet=quiet)


@app.command("report")
def report(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="What a study filled, finished or not.")],
    as_json: JSON = False,
) -> None:
    """Make the summary, the pictures and the report again from the results of a study."""
    _report(folder, as_json=as_json)


def _run(
    study: Any,
    kind: Any,
    config: Path,
    out: Path,
    processes: int | None,
    *,
    force: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Read a configuration, measure what is missing, and report; `study` is the module of its kind."""
    from semi.study.run import run_study
    from semi.yaml_config import read_config

    read = read_config(config, kind)
    # For the processes of the pool: threads that wait by sleeping, where more of them run than there are cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
    with progress("Study", quiet=quiet or as_json) as bar:
        run_study(
            study.KIND,
            read,
            study.plan,
            study.measure,
            out,
            processes=read.processes if processes is None else processes,
            force=force,
            advance=lambda done, total, note: bar.to(done, total, f"Study: {note}"),
        )
    _report(out, as_json=as_json)


def _report(folder: Path, *, as_json: bool) -> None:
    """Write and show what a study found; ends with 1 where cells failed."""
    from semi.study import efficiency_report, stress, stress_report
    from semi.study.run import read_study

    if read_study(folder)["kind"] == stress.KIND:
        summary = stress_report.report_stress(folder)
        tables: Tables = stress_report.tables(summary)
    else:
        summary = efficiency_report.report_efficiency(folder)
        tables = efficiency_report.tables(summary)
    if as_json:
        emit_json(summary)
    else:
        for columns, rows in tables:
            if rows:
                print_table(columns, [[_shown(cell) for cell in row] for row in rows])
                typer.echo("")
        for text in summary.get("sentences", ()):
            typer.echo(f"{text}\n")
        typer.echo(f"{folder / 'report.html'}: {summary['measured']} of {summary['cells']} cells")
        if summary["measured"] and not summary["drawn"]:
            typer.echo("no pictures: they need matplotlib (pip install 'semi-llm[plot]')", err=True)
        for line in summary["left_out"]:
            typer.echo(f"left out: {line}", err=True)
    if failed := summary["failed"]:
        few = "\n  ".join(failed[:FEW] + [f"and {len(failed) - FEW} more"] * (len(failed) > FEW))
        raise SemiError(f"{len(failed)} cells failed; the same command tries them again:\n  {few}")


def _shown(cell: object) -> object:
    return f"{cell:.3f}" if isinstance(cell, float) else cell
