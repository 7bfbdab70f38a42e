"""Where fetched things live, and the lock that lets one process at a time fill a place."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import platformdirs

if sys.platform == "win32":
    import msvcrt

    def _try_lock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _try_lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def cache_dir() -> Path:
    """The folder for everything semi can fetch or compute again: $SEMI_CACHE, else the user's cache directory."""
    chosen = os.environ.get("SEMI_CACHE")
    return Path(chosen).expanduser().absolute() if chosen else Path(platformdirs.user_cache_dir("semi"))


@contextmanager
def locked(path: Path, waiting: Callable[[], None]) -> Iterator[int]:
    """Hold the lock file `path`; the operating system frees it however the holder ends, kill -9 included.

    Args:
        path: the lock file, created where missing.
        waiting: called five times a second while another process holds it.

    Yields:
        The file descriptor. A child that inherits it keeps the lock for as long as it lives.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        while True:
            try:
                _try_lock(descriptor)
                break
            except (BlockingIOError, PermissionError):
                waiting()
                time.sleep(0.2)
        yield descriptor
    finally:
        os.close(descriptor)
