"""Who writes texts: a language model in this process, or one in a process of its own."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Event, Lock
from typing import Any, Protocol

import numpy as np
import torch

from semi.errors import SessionError
from semi.integration import Integration
from semi.streams.stream import closed

MODULE = "semi.streams.text_process"


class Writer(Protocol):
    """Text for one embedding after the other; a second call waits for the first."""

    def write(self, modality: str, embedding: np.ndarray, instruction: str, max_new_tokens: int) -> str:
        """Text for an embedding (d_enc,) or (t, d_enc).

        Raises:
            SessionError: it could not be written; retriable unless the writer is closed.
        """
        ...

    def stop(self) -> None:
        """End a text that is being written, from any thread; none is written any more."""
        ...

    def close(self) -> None:
        """Let go of the language model."""
        ...


class ThreadWriter:
    """Writes in the thread that asks. Others wait for Python's interpreter lock then, for milliseconds."""

    def __init__(self, integrations: Mapping[str, Integration]) -> None:
        self._integrations = dict(integrations)
        self._lock = Lock()
        self._stopped = Event()

    def write(self, modality: str, embedding: np.ndarray, instruction: str, max_new_tokens: int) -> str:
        """See `Writer`."""
        with self._lock:
            if self._stopped.is_set():
                raise closed()
            row = torch.from_numpy(embedding)[None]
            integration = self._integrations[modality]
            return integration.texts(row, [instruction], max_new_tokens, stop=self._stopped.is_set)[0]

    def stop(self) -> None:
        """See `Writer`; a text ends after its next token."""
        self._stopped.set()

    def close(self) -> None:
        """See `Writer`."""
        self.stop()
        with self._lock:
            self._integrations.clear()


class ProcessWriter:
    """Writes in a process that loads the integrations itself, with a lower priority than this one.

    It starts with the first text, again if it died, and ends when its input does, which is when this process ends,
    however that happens. It is no child of `multiprocessing`, which would import the caller's main module and leave a
    process behind that tracks resources.
    """

    def __init__(self, folders: Sequence[Path], device: str | None) -> None:
        self._command = [sys.executable, "-P", "-m", MODULE, json.dumps([str(folder.resolve()) for folder in folders])]
        self._command += [device] if device else []
        self._lock = Lock()
        self._state = Lock()
        """Guards what follows, while a text is waited for too."""
        self._stopped = False
        self._process: subprocess.Popen[bytes] | None = None

    def write(self, modality: str, embedding: np.ndarray, instruction: str, max_new_tokens: int) -> str:
        """See `Writer`; the first call takes as long as loading a language model."""
        request = {
            "modality": modality,
            "embedding": base64.b64encode(np.ascontiguousarray(embedding, np.float32).tobytes()).decode(),
            "shape": embedding.shape,
            "instruction": instruction,
            "max_new_tokens": max_new_tokens,
        }
        with self._lock:
            answer = self._asked(self._running(), request)
        if "text" in answer:
            return str(answer["text"])
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
                raise closed()
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
            raise closed()
        line = b""
        with suppress(OSError):  # it died before it read
            process.stdin.write(json.dumps(request).encode() + b"\n")
            process.stdin.flush()
            line = process.stdout.readline()
        if not line.endswith(b"\n"):
            code = self._end()
            if self._stopped:
                raise closed()
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
