"""A merge that is changed: written anew beside the old one, with the files that stay, and put in its place at once."""

from __future__ import annotations

import ctypes
import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from semi.artifacts import OutputFolder, open_output
from semi.artifacts.files import PARTIAL, output_error
from semi.artifacts.lock import FolderLock
from semi.merge.artifact import KIND

BESIDE, OLD = ".new", ".old"
"""End the names of the folders in which a merge is written that will replace another one, and of that other one."""

_HERE, _EXCHANGE = -100, 2
"""AT_FDCWD and RENAME_EXCHANGE of Linux."""


@contextmanager
def edited(
    folder: Path, out: str | Path | None, settings: Mapping[str, Any], *, force: bool = False
) -> Iterator[OutputFolder]:
    """A folder to write a changed merge into; the block ends with `finish`, and the merge is in its place.

    Args:
        folder: the merge.
        out: where the changed one goes; None: in the old one's place, which stays whole until then, and if the block
            raises.
        settings: all that the change depends on.
        force: replace what is in `out`.

    Raises:
        OutputError: `out` is taken, or the merge is in use by another run, or cannot be written to.
    """
    folder = folder.resolve()
    if out is not None and Path(out).resolve() != folder:
        with open_output(out, kind=KIND, config=settings, force=force) as new:
            yield new
        return
    beside, lock = folder.with_name(folder.name + BESIDE), FolderLock(folder)
    try:
        # With force: what a killed edit left there may be of any other, and to edit takes minutes.
        new = open_output(beside, kind=KIND, config=settings, force=True)
        try:
            with new:
                yield new
            exchange(beside, folder)
        finally:
            shutil.rmtree(beside, ignore_errors=True)  # the old merge, or a new one that did not come about
    finally:
        lock.release()


def bytes_to_take(names: Sequence[str], old: Path, new: Path) -> int:
    """What `take_over` adds to the disk: nothing where the file system has links."""
    probe = new / f".link{PARTIAL}"
    try:
        os.link(old / names[0], probe)
    except OSError:
        return sum((old / name).stat().st_size for name in names)
    probe.unlink()
    return 0


def take_over(names: Iterable[str], old: Path, new: Path) -> None:
    """Let files of a folder be in another one, too: as links where the file system has them, otherwise as copies.

    Nothing writes into a file of a merge, so two merges may share it.

    Raises:
        OutputError: the disk is full or the place cannot be written to.
    """
    for name in names:
        target = new / name
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.unlink(missing_ok=True)  # an interrupted run may have left a part of a copy, or a link
            try:
                os.link(old / name, target)
            except OSError:
                shutil.copyfile(old / name, target)
        except OSError as error:
            raise output_error(target, error) from error


def exchange(one: Path, other: Path) -> None:
    """Swap two folders of one file system: at once where Linux can, elsewhere by three renames.

    Killed between these, `other` lies as NAME.old beside where it was, whole.

    Raises:
        OutputError: they cannot be renamed.
    """
    if _exchanged(one, other):
        return
    away = other.with_name(other.name + OLD)
    try:
        other.rename(away)
        one.rename(other)
        away.rename(one)
    except OSError as error:
        raise output_error(other, error) from error


def _exchanged(one: Path, other: Path) -> bool:
    """Whether the system swapped them; not all file systems can."""
    if sys.platform != "linux":
        return False
    rename = getattr(ctypes.CDLL(None), "renameat2", None)
    return rename is not None and rename(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _EXCHANGE) == 0
