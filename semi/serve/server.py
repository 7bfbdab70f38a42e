"""A server of one's own: loads, listens, tells where, and serves until it is told to end."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Sequence
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from semi.errors import InputError
from semi.serve.app import create_app
from semi.serve.backend import Backend
from semi.serve.engine import Engine
from semi.serve.impatient import impatient
from semi.serve.limits import Limits
from semi.serve.metrics import Metrics
from semi.streams.loading import load_integrations

GRACE_S = 10
"""For answers that are being written when the server is told to end."""


def listen(host: str, port: int, keys: Sequence[str]) -> socket.socket:
    """A socket that listens there.

    Args:
        port: 0: any that is free.

    Raises:
        InputError: others than this machine could reach it and there is no key, or the place is taken or none.
    """
    if not keys and not _loopback(host):
        raise InputError(
            "without a key only this machine is served",
            got=f"--host {host}",
            expected="127.0.0.1, ::1 or localhost",
            do="set a key: the environment variable SEMI_API_KEY, or --key",
        )
    if any(not key.strip() or key != key.strip() or not key.isascii() for key in keys):
        raise InputError("a key is empty or cannot be sent", expected="ASCII without white space around it")
    listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen()  # who comes while models are loaded waits
    except (OSError, OverflowError) as error:
        listening.close()
        do = "choose another with --host and --port; --port 0 takes any that is free"
        raise InputError(f"cannot listen on {host}, port {port}", got=error, do=do) from error
    return listening


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
        listening: from `listen`.
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


def _loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
