"""`python -m semi.streams.text_process '["FOLDER", ...]' [DEVICE]`: texts for requests, JSON lines in and out.

`semi.streams.writers.ProcessWriter` starts it and is the only one to talk to it.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from contextlib import suppress
from queue import SimpleQueue
from threading import Thread
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from semi.streams.composing import Composer

NICE = 10
"""Added to the niceness, for systems without an idle policy."""


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    _give_way()
    # whatever a library prints must not come between the answers
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    requests: SimpleQueue[str] = SimpleQueue()
    Thread(target=_read, args=(sys.stdin, requests), daemon=True).start()
    folders, *device = json.loads(sys.argv[1]), *sys.argv[2:]
    composer: Composer | None = None
    while True:
        request = json.loads(requests.get())
        try:
            if composer is None:
                composer = _composer(folders, device[0] if device else None)
            answer: dict[str, Any] = {"texts": _texts(composer, request)}
        except Exception as error:
            got = f"{type(error).__name__}: {error}"
            answer = {"what": "text could not be written", "got": got, "do": getattr(error, "do", None)}
        print(json.dumps(answer), file=answers, flush=True)


def _give_way() -> None:
    """Samples come first where cores are few: the threads that torch will start inherit this.

    A thread that wakes up takes the core from one of Linux's idle policy at once; from one that is only nicer it gets
    it at the end of a time slice, 3 ms later.
    """
    if hasattr(os, "nice"):
        os.nice(NICE)
    if hasattr(os, "sched_setscheduler"):
        with suppress(OSError):  # a sandbox may forbid it
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def _read(lines: IO[str], requests: SimpleQueue[str]) -> None:
    """Lines as they come; the end of them is the end of the parent or of its session, even while a text is written."""
    for line in lines:
        requests.put(line)
    os._exit(0)


def _composer(folders: list[str], device: str | None) -> Composer:
    from semi.streams.composing import Composer
    from semi.streams.loading import load_integrations

    return Composer(load_integrations(folders, device))


def _texts(composer: Composer, request: dict[str, Any]) -> list[str]:
    from semi.streams.composing import from_json

    return composer.write([from_json(each) for each in request["requests"]], request["max_new_tokens"])


if __name__ == "__main__":
    main()
