"""Atomic writing of bytes and JSON, and the hashes that name content."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from semi.errors import ArtifactError, OutputError

PARTIAL = ".part"
"""Ends the name of a file that is still being written; a killed run may leave one behind."""

# A quota and a file-size limit look to the user just like a full disk.
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def write_bytes(path: str | Path, data: bytes) -> None:
    """Write a file so that, whatever happens, `path` holds either its old content or all of `data`.

    Raises:
        OutputError: the disk is full or the place cannot be written to; the temporary file is gone again.
    """
    with replacing(Path(path), size=len(data)) as file:
        file.write(data)


@contextlib.contextmanager
def replacing(path: Path, *, size: int) -> Iterator[BinaryIO]:
    """A file to write in the `with` block, which takes the place of `path` at its end, whole or not at all.

    Args:
        path: what it becomes.
        size: bytes that will be written, for the message.

    Raises:
        OutputError: as `write_bytes`.
    """
    # Same folder, hence same filesystem: only there is the rename atomic.
    temporary = path.with_name(f".{path.name}.{os.getpid()}{PARTIAL}")
    try:
        try:
            with open(temporary, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
            sync_folder(path.parent)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
    except OSError as error:
        raise output_error(path, error, size=size) from error


def write_json(path: str | Path, obj: Any) -> None:
    """Write `obj` as indented JSON with sorted keys, atomically.

    Raises:
        OutputError: as `write_bytes`.
        ValueError: `obj` holds NaN or infinity, which JSON does not have.
    """
    write_bytes(path, (json.dumps(obj, indent=2, sort_keys=True, allow_nan=False) + "\n").encode())


def read_json(path: str | Path) -> Any:
    """The content of a JSON file.

    Raises:
        ArtifactError: the file is missing, unreadable or not JSON.
    """
    path = Path(path)
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise ArtifactError(f"{path} does not exist", do="check the name") from error
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read", got=error.strerror) from error
    except (ValueError, RecursionError) as error:  # a JSONDecodeError or UnicodeDecodeError is a ValueError
        raise ArtifactError(
            f"{path} is not JSON", got=error, expected="a file that semi wrote", do="make the folder again"
        ) from error


def sha256_of(path: str | Path) -> str:
    """The sha256 of a file's content, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def config_hash(obj: Any) -> str:
    """A hash of a JSON-able configuration that does not depend on the order of its keys."""
    text = json.dumps(obj, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def sync_folder(folder: Path) -> None:
    """Make a rename in `folder` outlast a power cut. Windows cannot sync a folder and needs no such call."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def output_error(path: Path, error: OSError, *, size: int | None = None) -> OutputError:
    """What an OSError while writing `path` means to the user."""
    if error.errno in _FULL:
        return OutputError(
            f"{path} could not be written: the disk is full",
            got=error.strerror,
            expected=None if size is None else f"{size:,} free bytes",
            do="free some space, or name a folder on another disk; running the command again resumes",
        )
    return OutputError(
        f"{path} could not be written", got=error.strerror or error, do="name a folder that you can write to"
    )
