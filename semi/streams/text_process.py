"""`python -m semi.streams.text_process '["FOLDER", ...]' [DEVICE]`: texts for embeddings, JSON lines in and out.

`semi.streams.writers.ProcessWriter` starts it and is the only one to talk to it.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import sys
from queue import SimpleQueue
from threading import Thread
from typing import IO, Any

NICE = 5
"""Added to the niceness: samples come first where cores are few."""


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    if hasattr(os, "nice"):
        os.nice(NICE)
    # whatever a library prints must not come between the answers
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    requests: SimpleQueue[str] = SimpleQueue()
    Thread(target=_read, args=(sys.stdin, requests), daemon=True).start()
    folders, *device = json.loads(sys.argv[1]), *sys.argv[2:]
    integrations: dict[str, Any] | None = None
    while True:
        request = json.loads(requests.get())
        try:
            if integrations is None:
                integrations = _loaded(folders, device[0] if device else None)
            answer: dict[str, Any] = {"text": _text(integrations[request["modality"]], request)}
        except Exception as error:
            got = f"{type(error).__name__}: {error}"
            answer = {"what": "text could not be written", "got": got, "do": getattr(error, "do", None)}
        print(json.dumps(answer), file=answers, flush=True)


def _read(lines: IO[str], requests: SimpleQueue[str]) -> None:
    """Lines as they come; the end of them is the end of the parent or of its session, even while a text is written."""
    for line in lines:
        requests.put(line)
    os._exit(0)


def _loaded(folders: list[str], device: str | None) -> dict[str, Any]:
    from semi.streams.loading import load_integrations

    return load_integrations(folders, device)


def _text(integration: Any, request: dict[str, Any]) -> str:
    import numpy as np
    import torch

    numbers = np.frombuffer(base64.b64decode(request["embedding"]), np.float32).reshape(request["shape"])
    row = torch.from_numpy(numbers.copy())[None]
    [text] = integration.texts(row, [request["instruction"]], request["max_new_tokens"])
    return str(text)


if __name__ == "__main__":
    main()
