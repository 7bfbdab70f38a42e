"""A plugin's source folder as if it were installed: what `semi plugins check .` looks at, with nothing installed."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from packaging.utils import canonicalize_name

from semi.errors import InputError
from semi.plugins.listing import GROUPS


@contextmanager
def as_if_installed(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """The distribution's name, and the folders that make it importable and listed when they come first on sys.path.

    Raises:
        InputError: no pyproject.toml that names a project and entry points of semi.
    """
    project = _project(folder)
    name, version = project["name"], str(project.get("version", "0"))
    code = folder / "src" if (folder / "src").is_dir() else folder
    with TemporaryDirectory(prefix="semi-check-") as place:
        info = Path(place, f"{canonicalize_name(name).replace('-', '_')}-{version}.dist-info")
        info.mkdir()
        wanted = "".join(f"Requires-Dist: {text}\n" for text in project.get("dependencies", []))
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{wanted}", "utf-8")
        groups = {group: entries for group, entries in project["entry-points"].items() if group in GROUPS.values()}
        lines = [
            f"[{group}]\n" + "".join(f"{key} = {value}\n" for key, value in entries.items())
            for group, entries in groups.items()
        ]
        (info / "entry_points.txt").write_text("".join(lines), "utf-8")
        yield name, [place, str(code.resolve())]


def _project(folder: Path) -> dict[str, Any]:
    """The table [project], with a name and at least one entry point of semi."""
    path = folder / "pyproject.toml"
    try:
        project = tomllib.loads(path.read_text("utf-8")).get("project")
    except (OSError, ValueError) as error:
        raise InputError(
            f"{folder} is no source folder of a plugin",
            got=f"{path.name}: {error}",
            expected="a folder with a pyproject.toml",
            do="`semi new-plugin NAME` makes one",
        ) from error
    if not isinstance(project, dict) or not isinstance(project.get("name"), str):
        raise InputError(f"{path} names no project", expected='[project] with name = "..."')
    groups = project.get("entry-points")
    if not isinstance(groups, dict) or not set(groups) & set(GROUPS.values()):
        raise InputError(
            f"{path} has no entry point of semi",
            got=", ".join(groups) if isinstance(groups, dict) else "no table project.entry-points",
            expected=f"one of {', '.join(GROUPS.values())}",
            do='add [project.entry-points."semi.modalities"]; docs/write-a-plugin.md shows it',
        )
    return project
