"""`semi plugins`: what is installed, from metadata alone; `semi plugins check`: what of it works."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from semi.cli._common import JSON, emit_json, print_table
from semi.plugins import PluginInfo, list_plugins

if TYPE_CHECKING:
    from semi.plugins.check import Checked

app = typer.Typer(help="List what plugins bring, without importing any, or check that they work.")
COLUMNS = ("kind", "name", "distribution", "version", "state")
FIELDS = ("name", "kind", "distribution", "version", "state", "cause", "fix")


@app.callback(invoke_without_command=True)
def listing(context: typer.Context, as_json: JSON = False) -> None:
    """List modalities, data sets, foundations, metrics and verbs of plugins, without importing any plugin."""
    if context.invoked_subcommand is not None:
        return
    found = list_plugins()
    if as_json:
        emit_json({"plugins": [_row(plugin) for plugin in found]})
        return
    _show(found)


@app.command("check")
def check(
    name: Annotated[
        str | None,
        typer.Argument(help="A distribution, a name that one offers, or a source folder such as . (not installed)."),
    ] = None,
    as_json: JSON = False,
) -> None:
    """Load plugins, each in a process of its own with 10 seconds; those named are also tried on samples.

    Exit code 1 if one fails.
    """
    from semi.plugins.check import check_installed, check_source

    if name is not None and (name in (".", "..") or "/" in name or "\\" in name):
        results = check_source(Path(name))
    else:
        results = check_installed(name)
    if as_json:
        emit_json({"plugins": [_row(r.plugin) | {"conformance": [asdict(f) for f in r.conformance]} for r in results]})
    else:
        _show([result.plugin for result in results])
        for result in results:
            _show_conformance(result)
    if not all(result.fine for result in results):
        raise typer.Exit(1)


def _row(plugin: PluginInfo) -> dict[str, Any]:
    return {field: getattr(plugin, field) for field in FIELDS}


def _show(plugins: list[PluginInfo]) -> None:
    print_table(COLUMNS, [[getattr(plugin, column) for column in COLUMNS] for plugin in plugins])
    for plugin in plugins:
        if plugin.cause:
            fix = f"\n  do this: {plugin.fix}" if plugin.fix else ""
            typer.echo(f"\n{plugin.name} ({plugin.distribution}): {plugin.cause}{fix}")


def _show_conformance(result: Checked) -> None:
    """How many checks passed, and in full what failed or could not be checked."""
    if not result.conformance:
        return
    states = [finding.state for finding in result.conformance]
    counts = ", ".join(f"{states.count(state)} {state}" for state in ("passed", "failed", "skipped"))
    typer.echo(f"\n{result.plugin.kind} {result.plugin.name}: {counts}")
    for finding in sorted(result.conformance, key=lambda finding: finding.state):
        if finding.state != "passed":
            where = f" ({finding.encoder})" if finding.encoder else ""
            state = typer.style(finding.state, fg="red" if finding.state == "failed" else "yellow")
            typer.echo(f"  {state} {finding.check}{where}: " + (finding.message or "").replace("\n", "\n    "))
