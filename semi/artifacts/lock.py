"""An exclusive lock on a folder that ends with the process that holds it, however that ends."""

from __future__ import annotations

import contextlib
import os
import sys
import weakref
from pathlib import Path

from semi.artifacts.files import output_error
from semi.errors import OutputError

LOCK = "run.lock"


class FolderLock:
    """Holds `folder` for this run from construction to `release`. The operating system drops it when the process dies.

    Raises:
        OutputError: another run holds the folder, or the lock file cannot be made there.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / LOCK
        handle = self._acquire()
        # Released on garbage collection too, so that a failed run does not lock out the next one of this process.
        self._close = weakref.finalize(self, os.close, handle)

    def release(self) -> None:
        """Let others use the folder; calling it again does nothing."""
        if self._close.alive:
            # Removed before it is unlocked: whoever waits notices that the file it opened is no longer the one there.
            # Windows refuses to remove an open file; there a stale, unlocked file stays and does no harm.
            with contextlib.suppress(OSError):
                self._path.unlink()
            self._close()

    def _acquire(self) -> int:
        while True:
            try:
                handle = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
            except OSError as error:
                raise output_error(self._path.parent, error) from error
            if not _lock(handle):
                os.close(handle)
                raise OutputError(
                    f"{self._path.parent} is in use by another run",
                    do="wait for that run to end, or name another folder",
                )
            try:
                if os.path.samestat(os.fstat(handle), os.stat(self._path)):
                    return handle
            except FileNotFoundError:
                pass
            os.close(handle)  # its last holder removed it between our open and our lock


if sys.platform == "win32":
    import msvcrt

    def _lock(handle: int) -> bool:
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def _lock(handle: int) -> bool:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
