"""`semi merge`: fine-tunes of one language model joined without training."""

from __future__ import annotations

import shlex
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from semi.cli import merge_edit, merge_read
from semi.cli._common import FORCE, JSON, QUIET, emit_json, print_table, progress

app = typer.Typer(help="Join fine-tunes of one language model without training.", no_args_is_help=True)
CONFIG = Annotated[Path, typer.Argument(metavar="FILE", help="A YAML file: base_model, models, merge.")]


@app.command("plan")
def plan(
    config: CONFIG,
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the merge would be written.")] = Path(),
    as_json: JSON = False,
) -> None:
    """What a merge would read, write and need; nothing but headers is read."""
    from semi.merge.config import MergeConfig
    from semi.merge.plan import make_plan
    from semi.yaml_config import read_config

    found = make_plan(read_config(config, MergeConfig), out)
    if as_json:
        emit_json(found)
        return
    typer.echo(f"{found['method']} of {', '.join(found['models'])}")
    kinds = [[kind, own["tensors"], f"{own['entries']:,}"] for kind, own in sorted(found["tensors"].items())]
    print_table(["tensors", "count", "entries"], [*kinds, *([*row, None] for row in _copied(found))])
    memory, disk = found["memory"], found["disk"]
    ahead = "reads ahead" if memory["prefetch"] else "too little to read ahead"
    print_table(
        ["takes", "at most", ""],
        [
            ["reading", _gb(found["read"]), f"{found['passes']} passes, and one for the hashes"],
            ["result", _gb(found["write"]), None],
            ["disk", _gb(disk["needed"]), f"{_gb(disk['free'])} free"],
            ["memory", _gb(memory["needed"]), f"{_gb(memory['allowed'])} allowed, {ahead}"],
        ],
    )
    for note in found["notes"]:
        typer.echo(f"note: {note}")


@app.command("run")
def run(
    config: CONFIG,
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder to write; an interrupted run resumes.")],
    force: FORCE = False,
    quiet: QUIET = False,
) -> None:
    """Merge; writes a folder from which each model comes back (NAME.mmer)."""
    from semi.artifacts import require_free

    require_free(out, force=force)
    from semi.merge.config import MergeConfig
    from semi.merge.run import run_merge
    from semi.merge.verify import beyond_base, high_residuals
    from semi.yaml_config import read_config

    read = read_config(config, MergeConfig)
    begun, moved, stage, last = time.monotonic(), 0, "", 0
    with progress("Merging", quiet=quiet, in_bytes=True) as bar:

        def advance(done: int, total: int, what: str) -> None:
            nonlocal moved, stage, last
            moved += done - (last if what == stage else 0)
            stage, last = what, done
            bar.to(done, total, what)

        info = run_merge(read, out, force=force, advance=advance)
    seconds = time.monotonic() - begun
    typer.echo(f"{out}: {read.merge.method} of {', '.join(model.name for model in read.models)}")
    typer.echo(f"{_gb(moved)} read in {seconds:,.0f} s, {moved / 1e6 / max(seconds, 1e-3):,.0f} MB/s")
    _show(info["certificate"], info.get("lossless"))
    if high := high_residuals(info["certificate"], read):
        most = read.verify.max_residual
        typer.echo(f"warning: residuals above verify.max_residual, {most:g}: {'; '.join(high)}", err=True)
    if far := beyond_base(info["certificate"]["models"]):
        typer.echo(f"warning: residuals above 1, further from the model than the base is: {'; '.join(far)}", err=True)
    typer.echo(f"next: semi merge export {shlex.quote(str(out))} --modality {read.models[0].name} --out FOLDER")


@app.command("inspect")
def inspect(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="What `semi merge run` wrote.")],
    as_json: JSON = False,
) -> None:
    """What a merge holds, and how near each model comes back."""
    from semi.merge.artifact import Artifact

    with Artifact.open(folder) as artifact:
        found = artifact.summary()
    if as_json:
        emit_json(found)
        return
    typer.echo(f"{found['method']} of {', '.join(found['models'])}, base {found['base']}")
    for what in ("added", "removed"):
        if found[what]:
            typer.echo(f"{what} later: {', '.join(found[what])}")
    budget = "" if found["bits"] is None else f" within {found['bits']:g} bits an entry"
    typer.echo(f"masks: {found['rule']}{budget}; scales: {found['scale']}; shared vector: {found['tau']}")
    print_table(["tensors", "count"], [*sorted(found["tensors"].items()), *_copied(found)])
    print_table(["files", "size"], [[name, _gb(size)] for name, size in sorted(found["bytes"].items())])
    if found["search"]:
        _show_search(found["search"], found["models"])
    _show(found["certificate"], found["lossless"])


app.command("export")(merge_read.export)
app.command("verify")(merge_read.verify)
app.command("add")(merge_edit.add)
app.command("remove")(merge_edit.remove)
app.command("diff")(merge_edit.diff)


def _copied(found: dict[str, Any]) -> list[tuple[str, int]]:
    """Tensors that are copied byte for byte: encoders and connectors."""
    rows = [(f"kept of {name}", count) for name, count in found["kept"].items() if count]
    return rows + [(f"{file} of {name}", n) for name, own in found["beside"].items() for file, n in own.items()]


def _show_search(search: dict[str, Any], models: list[str]) -> None:
    texts = f"{search['tokens']:,} tokens of {search['prompts']} prompts in {search['file']}"
    typer.echo(f"lambda by KL divergence from the original, nats a token of text over {texts}; * is taken")
    curves = {name: search["curves"][name] for name in models if name in search["curves"]}
    rows = [
        [name, *(f"{at['nats']:.3g}{'*' * (at['lambda'] == search['found'][name])}" for at in curve)]
        for name, curve in curves.items()
    ]
    grid = [f"{at['lambda']:g}" for at in next(iter(search["curves"].values()))]
    print_table(["lambda", *grid], rows)


def _show(certificate: dict[str, Any], lossless: dict[str, Any] | None = None) -> None:
    figures = ("residual", "cosine", "density")
    rows = []
    for name, own in certificate["models"].items():
        before = [] if lossless is None else [_figure(lossless["models"].get(name, {}).get("residual"))]
        rows.append([name, *(_figure(own[figure]) for figure in figures), *before])
    print_table(["model", *figures, *(["residual before storing"] if lossless else [])], rows)
    typer.echo(f"share of entries with deltas of both signs: {_figure(certificate['sign_conflict'])}")


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _gb(count: int) -> str:
    return f"{count / 1e9:,.2f} GB" if count >= 1e8 else f"{count / 1e6:,.2f} MB"
