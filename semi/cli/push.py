"""`semi push`: a saved integration or foundation onto the hub."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def command(
    folder: Annotated[Path, typer.Argument(help="An integration or a foundation.")],
    repo: Annotated[str, typer.Argument(help="OWNER/NAME; made where it does not exist.")],
    license: Annotated[
        str | None, typer.Option("--license", help="Of the weights, by the hub's identifier, e.g. apache-2.0.")
    ] = None,
    private: Annotated[bool, typer.Option("--private", help="Make a repository that only you can read.")] = False,
    revision: Annotated[str | None, typer.Option("--revision", help="A branch in place of main.")] = None,
    card_only: Annotated[
        bool, typer.Option("--card-only", help="Print the model card that would be written, and push nothing.")
    ] = False,
) -> None:
    """Upload an integration or foundation to the Hugging Face hub, with a model card written from its record."""
    from semi.hub import card_of, push_folder

    if card_only:
        typer.echo(card_of(folder, repo, license=license), nl=False)
        return
    typer.echo(push_folder(folder, repo, license=license, private=private or None, revision=revision))
