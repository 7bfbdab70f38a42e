"""Folders by their path, or by their id on the Hugging Face hub."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from semi.errors import ArtifactError

_ID = re.compile(r"(?P<id>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?")


def is_repository(name: str) -> bool:
    """Whether it reads OWNER/NAME, without a revision."""
    match = _ID.fullmatch(name)
    return match is not None and match["revision"] is None


def find_folder(name: str | Path, patterns: Sequence[str], *, revision: str | None = None, **options: Any) -> Path:
    """A folder as it is, or of the hub by OWNER/NAME or OWNER/NAME@REVISION, in the hub's own cache.

    There a next time finds what has not changed, or all of it without a network.

    Args:
        patterns: of the files to fetch.
        revision: None: the one that the name gives, else main.
        options: others of huggingface_hub.snapshot_download.

    Raises:
        ArtifactError: there is neither, or it can be had neither from the hub nor whole from its cache.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    match = _ID.fullmatch(str(name))
    if match is None or str(name).startswith("."):
        raise ArtifactError(f"there is no folder {name}", do="check the path; a hub id is OWNER/NAME")
    from huggingface_hub import snapshot_download

    revision = revision or match["revision"]
    try:
        return Path(snapshot_download(match["id"], revision=revision, allow_patterns=list(patterns), **options))
    except Exception as error:  # the hub's client raises whatever the network led it into
        raise ArtifactError(
            f"there is no folder {name}, and nothing of that name can be fetched from the hub",
            got=first_line(error),
            expected="a folder, or OWNER/NAME of one that can be reached or lies whole in the hub's cache",
            do="check the name, the network and HF_HUB_OFFLINE; a private one needs HF_TOKEN",
        ) from error


def first_line(error: Exception) -> str:
    """What an error of another package says, in one line."""
    return (str(error) or type(error).__name__).splitlines()[0]
