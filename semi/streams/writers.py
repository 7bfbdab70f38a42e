"""Who writes texts: a language model in this process, or one in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Event, Lock
from typing import Any, Protocol

from semi.errors import SessionError
from semi.integration import Integration
from semi.streams.composing import Composer, Request, to_json
from semi.streams.stream import closed

MODULE = "semi.streams.text_process"


class Writer(Protocol):
    """Texts for one batch of requests after the other; a second call waits for the first."""

    def write(
        self, requests: Sequence[Request], max_new_tokens: int, unwanted: Callable[[], bool] = lambda: False
    ) -> list[str]:
        """A text for each request.

        Args:
            unwanted: whether nobody waits for any of them any more; they may be cut short then.

        Raises:
            SessionError: they could not be written; retriable unless the writer is closed.
        """
        ...

    def stop(self) -> None:
        """End texts that are being written, from any thread; none is written any more."""
        ...

    def close(self) -> None:
        """Let go of the language model."""
        ...


class ThreadWriter:
    """Writes in the thread that asks. Others wait for Python's interpreter lock then, for milliseconds."""

    def __init__(self, integrations: Mapping[str, Integration]) -> None:
        self._composer: Composer | None = Composer(integrations)
        self._lock = Lock()
        self._stopped = Event()

    def write(
        self, requests: Sequence[Request], max_new_tokens: int, unwanted: Callable[[], bool] = lambda: False
    ) -> list[str]:
        """See `Writer`."""
        with self._lock:
            if self._composer is None or self._stopped.is_set():
                raise closed("session")
            return self._composer.write(requests, max_new_tokens, lambda: self._stopped.is_set() or unwanted())

    def stop(self) -> None:
        """See `Writer`; texts end after their next token."""
        self._stopped.set()

    def close(self) -> None:
        """See `Writer`."""
        self.stop()
        with self._lock:
            self._composer = None


class ProcessWriter:
    """Writes in a process that loads the integrations itself, which has what time this one leaves.

    It starts with the first request, again if it died, and ends when its input does, which is when this process ends,
    however that happens. It is no child of `multiprocessing`, which would import the caller's main module and leave a
    process behind that tracks resources.
    """

    def __init__(self, folders: Sequence[Path], device: str | None) -> None:
        self._command = [sys.executable, "-P", "-m", MODULE, json.dumps([str(folder.resolve()) for folder in folders])]
        self._command += [device] if device else []
        self._lock = Lock()
        self._state = Lock()
        """Guards what follows, while texts are waited for too."""
        self._stopped = False
        self._process: subprocess.Popen[bytes] | None = None

    def write(
        self, requests: Sequence[Request], max_new_tokens: int, unwanted: Callable[[], bool] = lambda: False
    ) -> list[str]:
        """See `Writer`; the first call takes as long as loading a language model, and no text is cut short."""
        request = {"requests": [to_json(each) for each in requests], "max_new_tokens": max_new_tokens}
        with self._lock:
            if self._process is not None and self._process.poll() is not None:
                self._end()  # it died with nothing to do: no text is lost, and another is started
            answer = self._asked(self._running(), request)
        if "texts" in answer:
            return [str(text) for text in answer["texts"]]
        raise SessionError(answer["what"], got=answer["got"], do=answer["do"], retriable=True)

    def stop(self) -> None:
        """See `Writer`; the process is killed."""
        with self._state:
            self._stopped = True
            if self._process is not None:
                self._process.kill()

    def close(self) -> None:
        """See `Writer`."""
        self.stop()
        with self._lock:
            self._end()

    @property
    def pid(self) -> int | None:
        """Of the process; None: it is not running."""
        process = self._process
        return None if process is None or process.poll() is not None else process.pid

    def _running(self) -> subprocess.Popen[bytes]:
        with self._state:
            if self._stopped:
                raise closed("session")
            if self._process is None:
                # its own modules may be where only this process was told to look
                environment = os.environ | {"PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)}
                pipe, null = subprocess.PIPE, subprocess.DEVNULL
                try:
                    self._process = subprocess.Popen(
                        self._command, env=environment, stdin=pipe, stdout=pipe, stderr=null
                    )
                except OSError as error:
                    raise SessionError("no process can be started", got=error, retriable=True) from error
            return self._process

    def _asked(self, process: subprocess.Popen[bytes], request: dict[str, Any]) -> dict[str, Any]:
        if process.stdin is None or process.stdout is None:
            raise closed("session")
        line = b""
        with suppress(OSError):  # it died before it read
            process.stdin.write(json.dumps(request).encode() + b"\n")
            process.stdin.flush()
            line = process.stdout.readline()
        if not line.endswith(b"\n"):
            code = self._end()
            if self._stopped:
                raise closed("session")
            raise SessionError(
                "the process that writes texts ended",
                got=f"exit code {code}" if code is None or code >= 0 else f"killed by signal {-code}",
                do="ask again, which starts another; if it was killed, memory may be short",
                retriable=True,
            )
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _end(self) -> int | None:
        """Leave neither the process nor its pipes behind."""
        with self._state:
            process, self._process = self._process, None
        if process is None:
            return None
        process.kill()  # it may have closed its output and still live
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with suppress(OSError):  # what it never read cannot be flushed any more
                    pipe.close()
        return process.wait()
