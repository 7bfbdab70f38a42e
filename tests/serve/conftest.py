"""Servers on this machine over tiny integrations of one foundation, each of two modalities."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest

from semi.adaptation import adapt
from semi.foundation import Foundation
from semi.integration import Integration
from semi.pairs import Pair
from semi.vectors import Vectors

pytest.importorskip("fastapi")
pytest.importorskip("prometheus_client")
uvicorn: Any = pytest.importorskip("uvicorn")

WIDTHS = {"wrist": 4, "camera": 14}
WORDS = ("a red cat", "a blue car", "a small house")


class Of(Vectors):
    """Vectors under a name of their own."""

    def __init__(self, name: str) -> None:
        self.name = name  # type: ignore[misc]


def sample(name: str, seed: int) -> list[float]:
    """A sample of a modality; as JSON it is the same."""
    g = np.random.default_rng(seed)
    numbers: list[float] = (g.normal(size=WIDTHS[name]) + 3 * np.eye(WIDTHS[name])[seed % 3]).round(3).tolist()
    return numbers


def part(name: str, seed: int) -> dict[str, Any]:
    """A content part with a sample."""
    return {"type": "modality", "modality": name, "data": {"values": sample(name, seed)}}


def user(*parts: Any) -> list[dict[str, Any]]:
    """A conversation of one message, of texts and parts."""
    return [{"role": "user", "content": [{"type": "text", "text": p} if isinstance(p, str) else p for p in parts]}]


def integration_of(foundation: Foundation, name: str, **options: Any) -> Integration:
    pairs = [Pair(sample(name, i), WORDS[i % 3]) for i in range(12)]
    settings: dict[str, Any] = {"steps": 0, "examples": 2, "diagnose": False}
    return adapt(foundation, Of(name), pairs, **settings | options)


@pytest.fixture(scope="session")
def served_foundation(foundation_folder: Path, tiny_text_site: Path) -> Foundation:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(tiny_text_site)
        return Foundation.load(foundation_folder, device="cpu")


@pytest.fixture(scope="session")
def integrations(served_foundation: Foundation) -> dict[str, Integration]:
    return {name: integration_of(served_foundation, name) for name in WIDTHS}


@dataclass
class Running:
    """A server that answers."""

    url: str
    port: int
    app: Any

    def counted(self, name: str, **labels: str) -> float:
        """A count of its metrics."""
        from prometheus_client.parser import text_string_to_metric_families

        families = text_string_to_metric_families(self.app.state.metrics.text().decode())
        samples = (each for family in families for each in family.samples)
        return sum(each.value for each in samples if each.name == name and labels.items() <= each.labels.items())


def eventually(condition: Callable[[], bool]) -> None:
    """What a server counts after it has answered."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@contextmanager
def running(app: Any, config: Any = None) -> Iterator[tuple[str, int]]:
    """An ASGI application on a free port, in a thread."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen()
    server = uvicorn.Server(config or uvicorn.Config(app, log_level="critical", timeout_graceful_shutdown=1))
    thread = Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    port = listening.getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}", port
    finally:
        server.should_exit = True
        thread.join(30)
        listening.close()
        assert not thread.is_alive()


@pytest.fixture(scope="module")
def serving(integrations: dict[str, Integration]) -> Iterator[Callable[..., Running]]:
    """Starts servers: `serving(keys=["k"], body_bytes=1000)`; in a module the same arguments give the same server."""
    from semi.serve.app import create_app
    from semi.serve.engine import Engine
    from semi.serve.limits import Limits
    from semi.serve.metrics import Metrics
    from semi.serve.server import configured

    known: dict[str, Running] = {}
    with ExitStack() as ending:

        def start(keys: tuple[str, ...] = (), backend: Any = None, **limits: Any) -> Running:
            called = repr((keys, id(backend) if backend else 0, sorted(limits.items())))
            if called not in known:
                metrics = Metrics()
                engine = Engine(integrations, Limits(**{"per_minute": 60_000} | limits), metrics, backend)
                app = create_app(engine, metrics, keys)
                app.state.metrics = metrics
                url, port = ending.enter_context(running(app, configured(app, engine.limits, metrics)))
                known[called] = Running(url, port, app)
            return known[called]

        yield start
