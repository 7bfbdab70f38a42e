"""`semi merge add`, `remove` and `diff` as people meet them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from typer.testing import Result

from tests.merge.llamas import Merged, merge_llamas
from tests.merge.newcomers import NEW, newcomer

Semi = Callable[..., Result]


@pytest.fixture(scope="module")
def merge(tmp_path_factory: pytest.TempPathFactory, write_lm: Callable[..., Path]) -> Merged:
    return merge_llamas(tmp_path_factory.mktemp("merge"), write_lm)


@pytest.fixture
def merged(merge: Merged, work: Path) -> str:
    """A copy in the working directory, and a model to add to it in new.yaml."""
    shutil.copytree(merge.folder, work / "x.mmer")
    config, _ = newcomer(merge, work / NEW)
    said = config.model_dump(mode="json", by_alias=True, exclude_unset=True)
    (work / "new.yaml").write_text(yaml.safe_dump(said))
    return "x.mmer"


def test_add_and_remove(merged: str, semi: Semi) -> None:
    result = semi("merge", "add", merged, "new.yaml", "--out", "y.mmer")
    assert result.exit_code == 0, result.stderr
    assert "y.mmer: imu added" in result.stdout
    assert "residual 0." in result.stdout
    assert semi("merge", "add", merged, "new.yaml", "--quiet").stderr == ""
    assert semi("merge", "diff", merged, "y.mmer").stdout == "equal\n"
    assert "added later: imu" in semi("merge", "inspect", merged).stdout
    result = semi("merge", "remove", merged, NEW)
    assert result.stdout == "x.mmer: imu removed\n"
    result = semi("merge", "remove", merged, "text")
    assert "the shared vector was made of text" in result.stdout
    assert "removed later: text" in semi("merge", "inspect", merged).stdout


def test_a_high_residual_is_told_as_verify_tells_it(merged: str, work: Path, semi: Semi) -> None:
    manifest = json.loads((work / merged / "manifest.json").read_text())
    manifest["info"]["configuration"]["verify"]["max_residual"] = 0.01
    (work / merged / "manifest.json").write_text(json.dumps(manifest))
    result = semi("merge", "add", merged, "new.yaml", "--quiet")
    assert "warning: residual above verify.max_residual: imu: 0." in result.stderr
    assert semi("merge", "verify", merged).exit_code == 1


def test_diff(merged: str, semi: Semi) -> None:
    semi("merge", "add", merged, "new.yaml", "--out", "y.mmer")
    result = semi("merge", "diff", merged, "y.mmer")
    assert result.exit_code == 1
    for text in ("models", NEW, "mask agreement", "distance of the shared vectors, relative to A's: 0"):
        assert text in result.stdout
    found = json.loads(semi("merge", "diff", merged, "y.mmer", "--json").stdout)
    assert found["equal"] is False
    assert found["models"] == [[], [NEW]]
    assert json.loads(semi("merge", "diff", merged, merged, "--json").stdout)["equal"] is True


def test_refusals(merged: str, work: Path, refused: Callable[..., str]) -> None:
    refused("merge", "remove", merged, "smell", says=("smell", "text, vision, lora"))
    refused("merge", "add", "nothing.mmer", "new.yaml", says=("nothing.mmer is not a folder",))
    refused("merge", "add", merged, "nothing.yaml", says=("nothing.yaml",))
    (work / "wrong.yaml").write_text("{name: one, path: two, residual: 2, size: 1}")
    refused("merge", "add", merged, "wrong.yaml", says=("residual", "size", "settings among name"))
    refused("merge", "diff", merged, "nothing.mmer", says=("nothing.mmer is not a folder",))
