"""The commands of docs/cluster.md, with one process killed in the first: it goes on with one process and with two."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from semi.artifacts import Checkpoint, read_manifest
from semi.artifacts.checkpoint import CHECKPOINT
from semi.foundation import Foundation
from semi.training.run import run_projector
from tests.training_distributed.pages import commands

LAUNCHED, TORCHRUN, ACCELERATE, ALONE, *_ = (words for words in commands() if "train" in words)
Start = Callable[[list[str]], subprocess.Popen[str]]


@pytest.fixture
def start(recipes: tuple[Path, Path], tiny_text_site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Start:
    """Starts a command of the page in the folder of the recipes."""
    monkeypatch.chdir(tmp_path)
    programs = Path(sys.executable).parent
    environment = os.environ | {
        "PYTHONPATH": str(tiny_text_site),
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "HF_HOME": str(tmp_path / "accelerate"),  # no configuration of the user's
    }

    def run(words: list[str]) -> subprocess.Popen[str]:
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen([str(programs / words[0]), *words[1:]], text=True, env=environment, **pipes)

    return run


def kill_one(command: subprocess.Popen[str], checkpoint: Path) -> None:
    """Kill the second process once there is a checkpoint."""
    while not checkpoint.is_file():
        assert command.poll() is None, command.communicate()
        time.sleep(0.005)
    children = psutil.Process(command.pid).children()
    trainers = [child for child in children if any("spawn_main" in word for word in child.cmdline())]
    os.kill(max(child.pid for child in trainers), signal.SIGKILL)


def losses(folder: Path) -> list[float]:
    """Of all steps and validations of a finished run."""
    read_manifest(folder, "projector")
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text("utf-8").splitlines()]
    return [row[name] for row in rows for name in ("loss", "validation") if name in row]


def test_a_killed_training_goes_on_with_one_process_and_with_two(
    start: Start, recipes: tuple[Path, Path], tmp_path: Path
) -> None:
    out = tmp_path / "runs" / "projector"
    command = start(LAUNCHED)
    kill_one(command, out / CHECKPOINT)
    _, told = command.communicate()
    assert command.returncode == 1
    assert "error: process 1 of 2 was killed" in told
    assert "Traceback" not in told
    assert told.count("error: ") == 1
    found = Checkpoint(out).load()
    assert found is not None
    assert 0 < found[0] < 20
    shutil.copytree(out, tmp_path / "killed")

    undisturbed = run_projector(recipes[0], tmp_path / "undisturbed")
    expected = pytest.approx(losses(tmp_path / "undisturbed"), abs=1e-5)
    assert len(undisturbed.steps) == 20
    for again in (ALONE, TORCHRUN):
        shutil.rmtree(out)
        shutil.copytree(tmp_path / "killed", out)
        command = start(again)
        printed, told = command.communicate()
        assert command.returncode == 0, told
        assert printed.count("validation loss") == 1  # one process speaks
        assert losses(out) == expected

    command = start(ACCELERATE)
    _, told = command.communicate()
    assert command.returncode == 0, told
    assert Foundation.load(tmp_path / "runs" / "foundation").hypernetwork().kind == "ridge"
