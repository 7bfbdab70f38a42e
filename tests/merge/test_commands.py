"""`semi merge` from other folders, with warnings and progress as logs have them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import Result
from typer.testing import CliRunner

from semi.artifacts import read_json
from semi.cli import app
from semi.merge.artifact import MERGE
from tests.merge.conftest import random_base, tuned, write_checkpoint

Write = Callable[..., Path]


def semi(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["merge", *map(str, arguments)])


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes the file of a merge whose paths are relative, `config(merge={"method": "emr"})`, and enters its folder."""
    (work := tmp_path / "work").mkdir()
    monkeypatch.chdir(work)
    base = random_base()
    write_checkpoint(work / "base", base)
    for seed, name in enumerate(("vision", "audio")):
        write_checkpoint(work / name, tuned(base, seed))

    def write(**settings: Any) -> Path:
        models = [{"name": name, "path": name} for name in ("vision", "audio")]
        content = {"base_model": "base", "models": models, "merge": {"method": "mmer"}} | settings
        (work / "merge.yaml").write_text(yaml.safe_dump(content))
        return work / "merge.yaml"

    return write


def test_a_merge_finds_its_base_from_any_folder(config: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert semi("run", config(), "--out", "x.mmer").exit_code == 0
    monkeypatch.chdir(tmp_path)
    assert semi("verify", "work/x.mmer", "--models").exit_code == 0
    assert semi("export", "work/x.mmer", "--modality", "audio", "--out", "audio").exit_code == 0
    assert read_json(Path("work/x.mmer") / MERGE)["base"]["id"] == str(tmp_path / "work" / "base")
    Path("new.yaml").write_text("{name: new, path: work/vision}")
    assert semi("add", "work/x.mmer", "new.yaml").exit_code == 0
    monkeypatch.chdir("work")
    assert semi("verify", "x.mmer", "--models").exit_code == 0


def test_a_log_of_verify_has_a_line_now_and_then(config: Write) -> None:
    semi("run", config(), "--out", "x.mmer")
    assert semi("verify", "x.mmer", "--models").stderr == ""  # ten seconds have not passed


def test_a_model_further_from_itself_than_the_base_is_told(config: Write) -> None:
    file = config(merge={"method": "task_arithmetic", "alpha": 20})
    result = semi("run", file, "--out", "x.mmer", "--quiet")
    assert result.exit_code == 0
    assert "warning: residuals above 1, further from the model than the base is: vision: " in result.stderr
    assert "max_residual" not in result.stderr
    Path("new.yaml").write_text("{name: new, path: audio, residual: 0}")
    added = semi("add", "x.mmer", "new.yaml", "--quiet")
    assert "warning: residual above 1, further from the model than the base is: new: " in added.stderr


def test_a_plan_refuses_what_a_run_refuses(config: Write) -> None:
    file = config(io={"max_memory": "1M"})
    planned, run = semi("plan", file), semi("run", file, "--out", "x.mmer")
    assert planned.exit_code == run.exit_code == 2
    assert planned.stdout == ""
    assert planned.stderr == run.stderr
    assert "got: io.max_memory of 1.05 MB" in run.stderr


def test_notes_of_a_plan(config: Write) -> None:
    models = [{"name": "vision", "path": "vision", "llm_prefix": "llm."}, {"name": "audio", "path": "audio"}]
    Path("base/config.json").write_text("{}")
    Path("audio/config.json").write_text("{}")
    assert json.loads(semi("plan", config(models=models), "--json").stdout)["notes"] == [
        "vision: `llm_prefix` llm. begins no key",
        "vision: has no config.json: whether it computes as the base does was not compared",
    ]
