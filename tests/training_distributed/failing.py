"""Work that fails in one process; a module of its own, because each process imports it."""

from __future__ import annotations

import os
import signal

from semi.errors import OutputError


def fail(kind: str) -> None:
    """Fail as `kind` says in one process, and wait for the launcher's signal in the other."""
    number = int(os.environ["RANK"])
    if kind == "killed" and number == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "full" and number == 0:
        raise OutputError("the disk is full", got="no space", do="make room")
    if kind == "bug" and number == 1:
        raise ZeroDivisionError("by zero\nin two lines")
    signal.pause()
