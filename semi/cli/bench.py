"""`semi bench`: what the kernels cost, beside their floors and their peers."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from semi.cli._common import JSON, QUIET, emit_json, print_table, progress
from semi.errors import InputError

if TYPE_CHECKING:
    from semi_kernels.bench import Row


def command(
    kernel: Annotated[
        list[str],
        typer.Option("--kernel", help="One of the kernels, or all of them: all. Can be given several times."),
    ] = ["fused_lora"],  # noqa: B006  # typer reads it and changes nothing
    quick: Annotated[bool, typer.Option("--quick", help="Fewer shapes and repeats: under a minute.")] = False,
    dtype: Annotated[
        str | None, typer.Option("--dtype", help="fp32, fp16 or bf16; bf16 on a GPU, fp32 without one if not given.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder for the JSON and CSV files.")] = Path("bench"),
    chart: Annotated[Path | None, typer.Option("--chart", help="A PNG file to draw the result in.")] = None,
    compare: Annotated[
        Path | None, typer.Option("--compare", help="JSON of an earlier run; exit code 1 if ours became slower.")
    ] = None,
    tune: Annotated[
        bool, typer.Option("--tune", help="Find launch configurations for this GPU instead, and keep them.")
    ] = False,
    as_json: JSON = False,
    quiet: QUIET = False,
) -> None:
    """Time the kernels, PyTorch, torch.compile, bitsandbytes and others at the same work, and say what is possible."""
    # Threads that wait by sleeping: times of an idle machine, or close, also where others use its cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    with _refusals():
        if chart is not None and find_spec("matplotlib") is None:
            raise InputError("a chart needs matplotlib", do="pip install 'semi-llm[plot]'")
        if tune:
            _tune(quick=quick)
            return
        from semi_kernels import bench

        old = bench.read(compare) if compare else None
        cases = _cases(kernel, dtype, quick=quick)
        clock = bench.Bench(_device(), quick=quick)
    with redirect_stdout(sys.stderr), progress("Timing", len(cases), quiet=quiet or as_json) as bar:
        rows = list(clock.rows(cases, bar.to))
    notes = _notes(rows, on_gpu=clock.device.type == "cuda")
    found = bench.document(clock.device, rows, notes)
    path = out / f"{'-'.join(kernel)}-{_place(found)}.json"
    bench.write_json(path, found)
    bench.write_csv(path.with_suffix(".csv"), rows)
    if chart is not None:
        from semi_kernels.bench.chart import draw

        draw(found, chart)
    with _refusals():
        changes = bench.compare(found, old) if old is not None else []
    if as_json:
        emit_json(found)
    else:
        _show(rows, notes)
        typer.echo(f"{path} and {path.with_suffix('.csv').name}")
    slower = bench.regressions(changes)
    if changes:
        _show_changes(changes, err=as_json)
    if slower:
        raise typer.Exit(1)


@contextmanager
def _refusals() -> Iterator[None]:
    """What the bench refuses before it measures is wrong usage."""
    try:
        yield
    except ValueError as error:
        raise InputError(str(error)) from error


def _device() -> Any:
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _cases(kernels: Sequence[str], dtype: str | None, *, quick: bool) -> list[Any]:
    from semi_kernels import bench

    names = [name for given in kernels for name in (bench.KERNELS if given == "all" else (given,))]
    if _device().type == "cpu":
        return [case for name in names for case in bench.small(name, dtype or "fp32", quick=quick)]
    found = [bench.grid(name, dtype or "bf16") for name in names]
    return [case for cases in found for case in (cases[:28] if quick else cases)]


def _tune(*, quick: bool) -> None:
    from semi_kernels.bench.tune import tune, write

    file = tune(_device(), quick=quick, tell=lambda line: typer.echo(line, err=True))
    typer.echo(write(file))


def _place(found: dict[str, Any]) -> str:
    from semi_kernels.bench.tune import slug

    return f"{slug(found['gpu']) if found['gpu'] else 'cpu'}-{found['revision'] or 'unknown'}"


def _notes(rows: Sequence[Row], *, on_gpu: bool) -> list[str]:
    """What holds for the whole table."""
    notes = []
    if not on_gpu:
        notes.append("There is no GPU: these are times of the PyTorch reference on this CPU, not of kernels.")
        notes.append("The floors are those of an NVIDIA H200, computed from bytes and operations; nothing ran on one.")
    left_out: dict[tuple[str, str], dict[str, None]] = {}
    for row in rows:
        if row["p50_us"] is None and row["note"]:
            left_out.setdefault((row["provider"], row["note"]), {})[_case(row)] = None
    return notes + [f"{name} was not timed ({'; '.join(cases)}): {note}" for (name, note), cases in left_out.items()]


def _show(rows: Sequence[Row], notes: Sequence[str]) -> None:
    header = ("M x K -> N", "case", "provider", "launch", "p50 us", "p20 - p80", "floor us", "% floor", "ceiling")
    lines = [_line(row) for row in rows if row["p50_us"] is not None]
    print_table((*header, "max error", "against the best peer"), lines)
    typer.echo()
    for note in notes:
        typer.echo(note)


def _case(row: Row) -> str:
    isometry = row["isometry"] if row["isometry"] != "none" else ""
    groups = f"G={row['G']}" if row["G"] > 1 else ""
    return " ".join(filter(None, (row["kernel"], row["dtype"], row["quantisation"], isometry, groups, row["mode"])))


def _line(row: Row) -> tuple[object, ...]:
    versus = row["versus"]
    against = f"{versus['ratio']:.2f}x {versus['provider']}" if versus else ""
    if versus and versus["ratio"] < 1:
        against += ", no win at this shape"
    return (
        f"{row['M']} x {row['K']} -> {row['N']}",
        _case(row),
        row["provider"],
        row["launch"],
        f"{row['p50_us']:.1f}",
        f"{row['p20_us']:.1f} - {row['p80_us']:.1f}",
        None if row["floor_us"] is None else f"{row['floor_us']:.2f}",
        None if row["percent_of_floor"] is None else f"{row['percent_of_floor']:.0f}",
        None if row["ceiling"] is None else f"{row['ceiling']:.2f}",
        None if row["max_error"] is None else f"{row['max_error']:.1e}",
        against,
    )


def _show_changes(changes: Sequence[Any], *, err: bool) -> None:
    """The ten slowest against the earlier run, and how many there are."""
    ours = [change for change in changes if change.row["provider"] == "ours"]
    slower = sum(change.slower for change in ours)
    typer.echo(f"{len(changes)} rows in common; {slower} of {len(ours)} of ours slower beyond noise", err=err)
    for change in ours[:10]:
        row, mark = change.row, "  slower" if change.slower else ""
        shape = f"{row['M']} x {row['K']} -> {row['N']} {row['quantisation']} {row['mode']} {row['launch']}"
        typer.echo(f"{change.ratio:.2f}x  {row['kernel']} {shape}{mark}", err=err)
