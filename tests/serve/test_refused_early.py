"""`semi serve` refuses what is wrong before it imports or loads anything of weight."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from semi.artifacts import write_json, write_manifest
from semi.cli import app

HEAVY = """
import sys
from semi.cli import app
try:
    app(sys.argv[1:])
finally:
    assert not {"torch", "fastapi", "transformers"} & set(sys.modules)
"""


def integration(folder: Path, modality: str) -> str:
    """As far as `semi serve` looks at it before it loads."""
    folder.mkdir()
    write_json(folder / "integration.json", {"modality": modality})
    write_manifest(folder, kind="integration", files=["integration.json"], info={})
    return str(folder)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where lie: imu, another of the same modality, an empty folder, a file, a folder of another kind."""
    monkeypatch.chdir(tmp_path)
    integration(tmp_path / "imu", "imu")
    integration(tmp_path / "other", "imu")
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "foundation").mkdir()
    write_manifest(tmp_path / "foundation", kind="foundation", files=[], info={})
    return tmp_path


CASES = {
    "missing": (["nowhere"], "nothing there"),
    "empty": (["empty"], "it has no manifest.json"),
    "a file": (["file"], "a file"),
    "another kind": (["foundation"], "holds something else"),
    "twice": (["imu", "imu"], "two folders are of the modality imu"),
    "two of a modality": (["imu", "other"], "imu, other"),
    "no key": (["imu", "--host", "0.0.0.0"], "without a key"),
    "a limit of no name": (["imu", "--limit", "bytes=3"], "there is no such limit"),
    "a limit of no number": (["imu", "--limit", "samples=many"], "is no number"),
    "a limit of nothing": (["imu", "--limit", "samples=0"], "is no limit"),
    "half of a backend": (["imu", "--backend", "vllm"], "--backend-url"),
}


@pytest.mark.parametrize("case", CASES)
def test_it_is_refused_at_once(here: Path, case: str) -> None:
    words, says = CASES[case]
    done = subprocess.run([sys.executable, "-c", HEAVY, "serve", *words], capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_that_is_taken(here: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        words = ["imu", "--port", str(taken.getsockname()[1])]
        done = subprocess.run([sys.executable, "-c", HEAVY, "serve", *words], capture_output=True, text=True)
    assert (done.returncode, "cannot listen" in done.stderr) == (2, True)


@pytest.mark.parametrize("device", ["banana", "meta", "cuda:99", "xla"])
def test_a_device_that_is_not_there(here: Path, device: str) -> None:
    result = CliRunner().invoke(app, ["serve", "imu", "--port", "0", "--device", device])
    assert result.exit_code == 2
    assert f"no device {device!r}" in result.stderr
    assert "the GPU is taken where there is one" in result.stderr
