"""The whole GPU evidence, run end to end on a CPU with tiny shapes, so that it works the first time a GPU is there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[3] / "benchmarks" / "gpu.py"


def script(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name not in ("TRITON_INTERPRET", "PYTHONPATH")}
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=500)


def test_every_stage_runs_and_a_rerun_repeats_nothing(tmp_path: Path) -> None:
    """From a folder that is not the checkout, as `python3 benchmarks/gpu.py` would be started on a bare machine."""
    out = tmp_path / "results"
    arguments = ("--device", "cpu", "--tiny", "--out", out)
    cut_short = script(*arguments, "--minutes", 0.02, cwd=tmp_path)
    assert cut_short.returncode == 3, cut_short.stdout + cut_short.stderr
    done = script(*arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    stages = {path.stem: json.loads(path.read_text()) for path in out.glob("*.json")}
    assert set(stages) == {"environment", "correctness", "determinism", "grid", "language_model", "training"}
    assert all(state["complete"] for name, state in stages.items() if name != "environment")
    assert stages["environment"]["gpu"] is None
    assert len(stages["correctness"]["checks"]) > 100
    assert set(stages["correctness"]["checks"].values()) == {"ok"}
    assert set(stages["determinism"]["cases"].values()) == {0}
    assert stages["grid"]["gpu"] is None
    assert all(row["percent_of_floor"] is None for row in stages["grid"]["rows"])
    assert any(row["provider"] == "ours" and row["p50_us"] for row in stages["grid"]["rows"])
    assert "RANDOM weights" in stages["language_model"]["model"]
    assert not [path for path in out.iterdir() if path.name.endswith(".part")]
    before = {path.name: path.stat().st_mtime_ns for path in out.glob("*.json") if path.stem != "environment"}
    again = script(*arguments, cwd=tmp_path)
    assert again.returncode == 0
    assert before == {path.name: path.stat().st_mtime_ns for path in out.glob("*.json") if path.stem != "environment"}


def test_without_a_gpu_it_says_how_to_run_it(tmp_path: Path) -> None:
    found = script("--device", "cpu", "--out", tmp_path / "results", cwd=tmp_path)
    assert found.returncode == 2
    assert "--tiny" in found.stdout
    assert not (tmp_path / "results").exists()
