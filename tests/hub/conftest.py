"""A hub of this machine's own: what is pushed is served to the real client, over loopback."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub import CommitOperationAdd

from semi.adaptation import adapt
from semi.foundation import Foundation
from semi.pairs import Pair
from tests.hub_server import ID, Hub, answering

COMMIT = "3" * 40


@dataclass
class Pushes:
    """What huggingface_hub.HfApi was asked, and the folder that came of it."""

    folder: Path
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    fails: Exception | None = None

    def __call__(self, **options: Any) -> Pushes:
        self.asked.append(("HfApi", options))
        return self

    def create_repo(self, repo_id: str, **options: Any) -> None:
        self.asked.append(("create_repo", options | {"repo_id": repo_id}))
        if self.fails:
            raise self.fails

    def create_branch(self, repo_id: str, **options: Any) -> None:
        self.asked.append(("create_branch", options))

    def create_commit(self, repo_id: str, operations: Sequence[CommitOperationAdd], **options: Any) -> SimpleNamespace:
        self.asked.append(("create_commit", options))
        shutil.rmtree(self.folder, ignore_errors=True)
        for added in operations:
            target = self.folder / added.path_in_repo
            target.parent.mkdir(parents=True, exist_ok=True)
            with added.as_file() as file:
                target.write_bytes(file.read())
        return SimpleNamespace(commit_url=f"https://huggingface.co/{repo_id}/commit/{COMMIT}", pr_url=None)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pushes]:
    """The repository `ID`: pushing writes its one commit, and the hub's client reads it."""
    pushed = Pushes(tmp_path / "hub")
    monkeypatch.setattr(huggingface_hub, "HfApi", pushed)
    with answering(Hub({COMMIT: pushed.folder}), tmp_path / "cache", monkeypatch):
        yield pushed


@pytest.fixture
def repo() -> str:
    return ID


@pytest.fixture(scope="module")
def adapted(foundation_folder: Path, tiny_text_site: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small integration."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(tiny_text_site)
        foundation = Foundation.load(foundation_folder, device="cpu")
    captions = ("red cat", "green dog", "blue car")
    pairs = [Pair([float(i % 3), i / 8, 1.0, -float(i)], captions[i % 3]) for i in range(8)]
    folder = tmp_path_factory.mktemp("adapted") / "toy"
    adapt(foundation, "vectors", pairs, out=folder, steps=1)
    return folder


@pytest.fixture
def integration(adapted: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    shutil.copytree(adapted, tmp_path / "integration")
    return tmp_path / "integration"
