"""`semi new-plugin`: from an idea to a package that installs, tests itself and conforms."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def command(
    name: Annotated[str, typer.Argument(help="What users will call the modality, e.g. sonar.")],
) -> None:
    """Write a complete plugin into a new folder here: encoder, data set, tests with conformance, CI."""
    from semi.scaffold import write_plugin

    folder = write_plugin(name, Path.cwd())
    typer.echo(f"{folder.name}: the modality {name}, ready to be changed")
    typer.echo(f"next: cd {folder.name} && pip install -e '.[test]' && pytest && semi plugins check .")
