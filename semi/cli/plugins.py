"""`semi plugins`: what is installed, from metadata alone."""

from __future__ import annotations

from dataclasses import asdict

import typer

from semi.cli._common import JSON, emit_json, print_table
from semi.plugins import list_plugins


def command(as_json: JSON = False) -> None:
    """List modalities, data sets and foundations, without importing any plugin."""
    found = [{key: value for key, value in asdict(plugin).items() if key != "target"} for plugin in list_plugins()]
    if as_json:
        emit_json({"plugins": found})
        return
    columns = ("kind", "name", "distribution", "version", "state")
    print_table(columns, [[plugin[column] for column in columns] for plugin in found])
    for plugin in found:
        if plugin["cause"]:
            typer.echo(f"\n{plugin['name']} ({plugin['distribution']}): {plugin['cause']}\n  do this: {plugin['fix']}")
