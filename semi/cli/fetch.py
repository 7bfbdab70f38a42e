"""`semi fetch`: bring models and data from package indexes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from semi.cli._common import JSON, QUIET, emit_json, print_table, progress
from semi.errors import InputError, SemiError

if TYPE_CHECKING:
    from semi.assets import Asset

NAMES = Annotated[
    list[str] | None,
    typer.Argument(metavar="NAME", help="A modality, data set, foundation or single asset.", show_default=False),
]


def command(
    names: NAMES = None,
    everything: Annotated[bool, typer.Option("--all", help="Fetch all that semi and its plugins know.")] = False,
    listing: Annotated[bool, typer.Option("--list", help="Show what there is, and fetch nothing.")] = False,
    quiet: QUIET = False,
    as_json: JSON = False,
) -> None:
    """Fetch pinned models and data, verify them, and say where they are."""
    from semi.assets.lookup import all_assets, assets_named
    from semi.plugins import skip

    if not (names or everything or listing):
        raise InputError("nothing named to fetch", do="give names, or --all; `semi fetch --list` shows what there is")
    broken: list[SemiError] = []
    if names and not everything:
        wanted = assets_named(names)
    else:
        known, broken = all_assets()
        wanted = list(known.values())
    if listing:
        skip(broken)
        _show([_row(asset) for asset in wanted], as_json)
        return
    rows, errors = [], broken
    for asset in wanted:
        try:
            row = _fetch(asset, quiet=quiet or as_json)
        except SemiError as error:  # the others may still come
            errors.append(error)
            continue
        rows.append(row)
        if not as_json:
            typer.echo(f"{asset.name}: {row['state']}, {row['path']}")
    if as_json:
        emit_json({"assets": rows})
    elif not wanted:
        typer.echo("nothing needs to be fetched")
    _tell(errors[:-1])
    if errors:
        raise errors[-1]


def _tell(errors: list[SemiError]) -> None:
    for error in errors:
        typer.echo(f"error: {error}", err=True)


def _fetch(asset: Asset, *, quiet: bool) -> dict[str, Any]:
    """Bring one asset, with a progress bar, and say what was done."""
    state = "already there" if asset.present() else "fetched"
    with progress(asset.name, asset.archives[0].size, quiet=quiet, in_bytes=True) as bar:

        def show(step: str, done: int, total: int) -> None:
            bar.to(done, total or None, f"{asset.name}: {step}")

        asset.fetch(show)
    return _row(asset) | {"state": state}


def _row(asset: Asset) -> dict[str, Any]:
    """What is known of an asset."""
    present = asset.present()
    return {
        "name": asset.name,
        "about": asset.about,
        "licence": asset.licence,
        "source": asset.source,
        "package": asset.package,
        "versions": list(dict.fromkeys(archive.version for archive in asset.archives)),
        "bytes": asset.archives[0].size,
        "state": "present" if present else "absent",
        "path": str(asset.folder()) if present else None,
    }


def _show(rows: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        emit_json({"assets": rows})
        return
    cells = [(row["name"], f"{row['bytes'] / 1e6:.1f}", row["state"], row["licence"], row["about"]) for row in rows]
    print_table(("name", "MB", "state", "licence", "about"), cells)
