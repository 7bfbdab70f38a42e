"""Unpack .whl, .tgz and .deb in pure Python: only the wanted files, nothing outside the folder, no links."""

from __future__ import annotations

import fnmatch
import gzip
import lzma
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO

from semi.assets.deb import open_data
from semi.errors import AssetError

Members = Generator[tuple[str, Callable[[], IO[bytes]]], None, None]
"""Of each file: its path in the archive, and how to open its contents."""

_DAMAGED = (
    zipfile.BadZipFile,
    gzip.BadGzipFile,
    tarfile.TarError,
    lzma.LZMAError,
    zlib.error,
    EOFError,
    NotImplementedError,
)


def unpack(archive: Path, folder: Path, wanted: Sequence[str] = ()) -> dict[str, int]:
    """Unpack an archive below an existing, empty folder.

    Args:
        archive: a .whl (zip), .tgz or .deb file.
        folder: where the files go, under their paths in the archive.
        wanted: globs over whole paths in the archive, "*" crossing "/"; none: everything.

    Returns:
        Size in bytes of each file by its path in the archive.

    Raises:
        AssetError: damaged, of an unknown kind or compression, with a name or link that leads out, or without a
            file for one of the globs.
    """
    kinds: dict[str, Callable[[Path], Members]] = {".whl": _zip_members, ".tgz": _tgz_members, ".deb": _deb_members}
    if archive.suffix not in kinds:
        raise AssetError(f"{archive.name} cannot be unpacked", got=archive.suffix, expected=", ".join(kinds))
    sizes: dict[str, int] = {}
    try:
        with closing(kinds[archive.suffix](archive)) as members:
            for name, reader in members:
                path = _inside(archive, name)
                if wanted and not any(fnmatch.fnmatchcase(path, glob) for glob in wanted):
                    continue
                target = folder / path
                target.parent.mkdir(parents=True, exist_ok=True)
                with reader() as source, target.open("xb") as copy:
                    shutil.copyfileobj(source, copy, 1 << 20)
                    sizes[path] = copy.tell()
    except (*_DAMAGED, FileExistsError, NotADirectoryError) as error:
        raise AssetError(f"{archive.name} is damaged", got=f"{type(error).__name__}: {error}") from error
    for glob in wanted:
        if not fnmatch.filter(sizes, glob):
            raise AssetError(f"{archive.name} lacks a file that is needed", expected=glob, got=f"{len(sizes)} files")
    return sizes


def _inside(archive: Path, name: str) -> str:
    """A member's name without a leading "./", refused where it could lead out of the folder on any system."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name or PureWindowsPath(str(path)).drive:
        raise AssetError(f"{archive.name} holds a file that leads out of its folder", got=name)
    return str(path)


def _zip_members(archive: Path) -> Members:
    with zipfile.ZipFile(archive) as contents:
        for info in contents.infolist():
            if not info.is_dir():
                yield info.filename, partial(_open_in_zip, archive, contents, info)


def _open_in_zip(archive: Path, contents: zipfile.ZipFile, info: zipfile.ZipInfo) -> IO[bytes]:
    """The bytes of a file. The upper half of external_attr is the Unix mode; no wheel has a reason for a link."""
    if stat.S_ISLNK(info.external_attr >> 16):
        raise AssetError(f"{archive.name} holds a link", got=info.filename, expected="plain files")
    return contents.open(info)


def _tgz_members(archive: Path) -> Members:
    with tarfile.open(archive, "r:gz") as contents:
        yield from _tar_members(archive, contents)


def _deb_members(archive: Path) -> Members:
    with open_data(archive) as contents:
        yield from _tar_members(archive, contents)


def _tar_members(archive: Path, contents: tarfile.TarFile) -> Members:
    for info in contents:
        if not info.isdir():
            yield info.name, partial(_open_in_tar, archive, contents, info)


def _open_in_tar(archive: Path, contents: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    """The bytes of a file. A link gives those of the member that it names, so that no link is ever made."""
    try:
        reader = contents.extractfile(info)
    except KeyError:  # the link's target is not in the archive
        reader = None
    if reader is None:
        what = f"{archive.name} holds a link that leads out, or something that is not a file"
        raise AssetError(what, got=f"{info.name} -> {info.linkname}" if info.linkname else info.name)
    return reader
