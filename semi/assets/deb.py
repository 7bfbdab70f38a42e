"""Read the files of a .deb: an ar archive (ar(5), deb(5)) with a compressed tar inside."""

from __future__ import annotations

import io
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import IO, Any

from semi.errors import AssetError


@contextmanager
def open_data(archive: Path) -> Iterator[tarfile.TarFile]:
    """The tar archive of a package's files, whether plain or compressed with gzip, xz, bzip2 or zstd.

    Raises:
        AssetError: not a .deb, damaged, or zstd where this Python cannot read it.
    """
    with archive.open("rb") as file:
        name, start, size = _find_in_ar(archive, file, "data.tar")
        data = io.BufferedReader(_Slice(file, start, size))
        if name.endswith(".zst"):
            # tarfile learned zstd in Python 3.14; a plain copy serves every version.
            with tempfile.TemporaryFile(dir=archive.parent) as plain, _zstd_open(archive)(data) as reader:
                shutil.copyfileobj(reader, plain, 1 << 20)
                plain.seek(0)
                with tarfile.open(fileobj=plain, mode="r:") as contents:
                    yield contents
        else:
            with tarfile.open(fileobj=data, mode="r:*") as contents:
                yield contents


def _find_in_ar(archive: Path, file: IO[bytes], prefix: str) -> tuple[str, int, int]:
    """Name, offset and size of the first member of an ar archive whose name starts with `prefix` (deb(5), ar(5))."""
    if file.read(8) != b"!<arch>\n":
        raise AssetError(f"{archive.name} is not a Debian package", got="another beginning", expected="!<arch>")
    while header := file.read(60):  # name 16, time 12, owner 6, group 6, mode 8, size 10, end 2
        size = header[48:58].strip()
        if len(header) < 60 or header[58:] != b"`\n" or not size.isdigit():
            raise AssetError(f"{archive.name} is damaged", got="a bad member header", expected="ar(5)")
        name = header[:16].decode("ascii", "replace").strip().removesuffix("/")
        if name.startswith(prefix):
            return name, file.tell(), int(size)
        file.seek(int(size) + int(size) % 2, io.SEEK_CUR)  # members start at even offsets
    raise AssetError(f"{archive.name} is damaged", got=f"no {prefix}.*", expected=f"a {prefix}.* with the files")


class _Slice(io.RawIOBase):
    """A stretch of an open file as a file of its own."""

    def __init__(self, file: IO[bytes], start: int, size: int) -> None:
        self._file, self._start, self._size, self._at = file, start, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        self._file.seek(self._start + self._at)
        chunk = self._file.read(max(0, min(len(buffer), self._size - self._at)))
        buffer[: len(chunk)] = chunk
        self._at += len(chunk)
        return len(chunk)


def _zstd_open(archive: Path) -> Callable[[IO[bytes]], IO[bytes]]:
    """`open` of Python 3.14's zstd module or of the `zstandard` package."""
    for module in ("compression.zstd", "zstandard"):
        try:
            found: Callable[[IO[bytes]], IO[bytes]] = import_module(module).open
        except ImportError:
            continue
        return found
    raise AssetError(
        f"{archive.name} is compressed with zstd, which this Python cannot read",
        expected="Python 3.14, or the zstandard package",
        do="run `pip install zstandard` and fetch again",
    )
