"""A hub of this machine's own: folders by commit, served to the hub's real client over loopback."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import unquote

import pytest
from huggingface_hub import constants

ID = "owner/model"


@dataclass
class Hub:
    """The folders that it serves, by commit; `main` is the last. What was asked for is kept in `asked`."""

    commits: dict[str, Path]
    asked: list[str] = field(default_factory=list)

    def answer(self, path: str) -> tuple[int, dict[str, str], bytes]:
        self.asked.append(path)
        parts = path.partition("?")[0].strip("/").split("/")
        if path.startswith(f"/api/models/{ID}") and len(parts) > 5:
            commit = self._commit(parts[5])
            if commit is None:
                return 404, {"X-Error-Code": "RevisionNotFound"}, b""
            if parts[4] == "revision":
                return 200, {}, json.dumps({"id": ID, "sha": commit, "siblings": []}).encode()
            return 200, {}, json.dumps(self._tree(commit)).encode()
        if path.startswith(f"/{ID}/resolve/"):
            commit, name = parts[3], "/".join(parts[4:])
            content = (self.commits[commit] / unquote(name)).read_bytes()
            tag = f'"{hashlib.sha1(content).hexdigest()}"'
            return 200, {"X-Repo-Commit": commit, "ETag": tag, "Accept-Ranges": "bytes"}, content
        return 404, {"X-Error-Code": "RepoNotFound"}, b""

    def _commit(self, revision: str) -> str | None:
        return list(self.commits)[-1] if revision == "main" else revision if revision in self.commits else None

    def _tree(self, commit: str) -> list[dict[str, Any]]:
        folder = self.commits[commit]
        files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        return [
            {
                "type": "file",
                "path": path.relative_to(folder).as_posix(),
                "size": path.stat().st_size,
                "oid": hashlib.sha1(path.read_bytes()).hexdigest(),
            }
            for path in files
        ]


class Handler(BaseHTTPRequestHandler):
    def __init__(self, hub: Hub, *rest: Any) -> None:
        self.hub = hub
        super().__init__(*rest)

    def do_GET(self) -> None:
        status, headers, content = self.hub.answer(self.path)
        self.send_response(status)
        for name, value in (headers | {"Content-Length": str(len(content))}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    do_HEAD = do_GET

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def answering(hub: Hub, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """The hub where the client looks for it, with a cache of its own."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, hub))
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    here = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(constants, "ENDPOINT", here)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", here + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
