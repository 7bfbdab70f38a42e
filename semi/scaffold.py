"""A new plugin from the templates beside this file."""

from __future__ import annotations

import re
import shutil
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from semi.errors import InputError, OutputError
from semi.plugins import list_plugins

NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
LONGEST = 24
SUFFIX = ".tmpl"
"""Of templates, so that nothing takes them for code of semi; it goes off."""


def write_plugin(name: str, parent: Path) -> Path:
    """Write the folder `semi-plugin-name` below `parent` and return it.

    Raises:
        InputError: no name for a modality, or one that is taken here.
        OutputError: the folder exists, or cannot be written.
    """
    distribution = f"semi-plugin-{name}"
    if not NAME.fullmatch(name) or len(name) > LONGEST:
        raise InputError(
            f"{name!r} is no name for a modality",
            expected=f"at most {LONGEST} letters a-z, digits and single hyphens, a letter first",
            do="try one word, e.g. semi new-plugin sonar",
        )
    for plugin in list_plugins():
        if (plugin.kind, plugin.name) == ("modality", name):
            raise InputError(
                f"the modality {name} exists already",
                got=f"{plugin.distribution} {plugin.version} brings it",
                do="choose another name, or uninstall it first",
            )
    folder = parent / distribution
    if folder.exists() or folder.is_symlink():
        raise OutputError(f"{folder} exists already", do="choose another name, or move it away")
    words = {
        "@NAME@": name,
        "@DISTRIBUTION@": distribution,
        "@PACKAGE@": distribution.replace("-", "_"),
        "@CLASS@": "".join(part.capitalize() for part in name.split("-")),
    }
    try:
        _copy(resources.files("semi") / "templates" / "plugin", folder, words)
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise OutputError(f"{folder} cannot be written", got=error) from error
    return folder


def _copy(source: Traversable, target: Path, words: dict[str, str]) -> None:
    """Copy a folder of templates; words are filled in in names and contents."""
    target.mkdir()
    for entry in source.iterdir():
        place = target / _filled(entry.name.removesuffix(SUFFIX), words).replace("dot-", ".")
        if entry.is_dir():
            _copy(entry, place, words)
        else:
            place.write_text(_filled(entry.read_text("utf-8"), words), "utf-8")


def _filled(text: str, words: dict[str, str]) -> str:
    for placeholder, word in words.items():
        text = text.replace(placeholder, word)
    return text
