"""A server of one's own: loads, tells where it is, and serves until it is told to end."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from semi.serve.app import create_app
from semi.serve.backend import Backend
from semi.serve.engine import Engine
from semi.serve.impatient import impatient
from semi.serve.limits import Limits
from semi.serve.metrics import Metrics
from semi.streams.loading import load_integrations

GRACE_S = 10
"""For answers that are being written when the server is told to end."""


def serve(
    folders: Sequence[str | Path],
    listening: socket.socket,
    *,
    keys: Sequence[str] = (),
    limits: Limits | None = None,
    backend: Callable[[], Backend] | None = None,
    device: str | None = None,
    tell: Callable[[str], None] = lambda text: None,
) -> None:
    """Serve what `semi adapt` wrote, until a signal ends it.

    Args:
        folders: one a modality, all over one language model.
        listening: from `semi.serve.beforehand.listen`.
        backend: makes it; None: the language model in this process.
        tell: given one line once requests are answered.

    Raises:
        InputError: two folders of one modality.
        ArtifactError: a folder is incomplete, or of another language model than the first.
    """
    metrics = Metrics()
    engine = Engine(load_integrations(folders, device), limits or Limits(), metrics, backend() if backend else None)
    config = configured(create_app(engine, metrics, keys), engine.limits, metrics)
    host, port = listening.getsockname()[:2]
    place = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    tell(f"{', '.join(engine.integrations)} over {engine.models[0]} at {place}/v1")
    uvicorn.Server(config).run(sockets=[listening])


def configured(app: FastAPI, limits: Limits, metrics: Metrics) -> uvicorn.Config:
    """uvicorn for this application, which logs what goes wrong and nothing else."""
    return uvicorn.Config(
        app,
        http=impatient(limits.body_s, metrics.refused.labels("headers_too_slow").inc),
        ws="none",
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=limits.connections,
        timeout_graceful_shutdown=GRACE_S,
    )
