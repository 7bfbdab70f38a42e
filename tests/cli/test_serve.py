"""`semi serve`: what it refuses before it listens; tests/serve has the rest."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from semi.artifacts import write_manifest

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")
pytest.importorskip("prometheus_client")

REFUSED = {
    "serve gone --port 0": "gone",
    "serve {toy} {toy} --port 0": "two folders are of the modality vectors",
    "serve {toy} --host 0.0.0.0": "without a key only this machine is served",
    "serve {toy} --host 203.0.113.1 --key a --port 0": "cannot listen on 203.0.113.1",
    "serve {toy} --port 70000": "invalid value for '--port'",
    "serve {toy} --limit samples": "the limit samples is no number",
    "serve {toy} --limit samples=0 --port 0": "the limit samples is no limit",
    "serve {toy} --limit speed=1": "there is no such limit",
    "serve {toy} --backend vllm": "--backend vllm and --backend-url come together",
    "serve {toy} --backend-url http://127.0.0.1:8001": "--backend vllm and --backend-url come together",
    "serve {toy} --backend vllm --backend-url http://127.0.0.1:9 --port 0": "does not name its models",
    "serve {toy} --backend llama": "invalid value for '--backend'",
}


@pytest.mark.parametrize("arguments", REFUSED)
def test_what_is_wrong_is_said(
    arguments: str, toy_integration: Path, tiny_text: str, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SEMI_API_KEY", raising=False)
    refused(*(word.format(toy=toy_integration) for word in arguments.split()), says=(REFUSED[arguments],))


def test_an_integration_of_another_language_model_is_refused_by_name(
    integration_of_another_model: Path, tiny_text: str, refused: Callable[..., str]
) -> None:
    refused("serve", integration_of_another_model, "--port", 0, says=("other", "language model"))


@pytest.fixture
def integration_of_another_model(toy_integration: Path, tmp_path: Path) -> Path:
    """As if it had been made with another one."""
    folder = tmp_path / "other"
    shutil.copytree(toy_integration, folder)
    described = json.loads((folder / "integration.json").read_text())
    described["language_model"]["sha256"] = "0" * 64
    (folder / "integration.json").write_text(json.dumps(described))
    manifest = json.loads((folder / "manifest.json").read_text())
    write_manifest(folder, kind=manifest["kind"], files=list(manifest["files"]), info=manifest["info"])
    return folder
