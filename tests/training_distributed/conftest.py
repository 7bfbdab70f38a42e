"""The recipes, and caches that the processes of a test share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.training_distributed.recipes import write_recipes


@pytest.fixture
def recipes(tiny_lm: Path, tiny_text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Of the projector and of the hypernetwork."""
    monkeypatch.setenv("SEMI_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    return write_recipes(tmp_path, tiny_lm, tiny_text)
