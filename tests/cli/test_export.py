from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result

from tests.cli.conftest import WIDTH, toy_pairs

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

Cli = Callable[..., Result]
PAGE = (Path(__file__).parents[2] / "docs" / "export.md").read_text("utf-8")


def test_an_integration_is_exported_and_says_how_near_it_is(toy_integration: Path, semi: Cli, work: Path) -> None:
    sample = json.dumps(toy_pairs(1)[0].sample)
    result = semi("export", toy_integration, "--out", "robot", "--format", "onnx", "--check", sample, "--json")
    assert result.exit_code == 0, result.stderr
    info = json.loads(result.stdout)
    assert info["parity"] <= 1e-4
    assert info["input"]["shape"] == ["t", WIDTH]
    assert {path.name for path in (work / "robot").iterdir()} >= {"model.onnx", "labels.json", "runner.py"}


def test_what_cannot_be_exported_is_refused(toy_integration: Path, refused: Callable[..., str], work: Path) -> None:
    refused("export", toy_integration, "--out", "robot", "--format", "tflite", says=("tflite", "onnx"))
    refused("export", work / "none", "--out", "robot", says=("none",))
    refused("export", toy_integration, "--out", "robot", "--check", "[1, 2]", says=("vector",))


@pytest.mark.timeout(120)
def test_the_page_is_true(toy_integration: Path, work: Path, tmp_path: Path) -> None:
    """Its commands and its program, as a reader would type them; only what they print is not compared."""
    (work / "my-integration").symlink_to(toy_integration)
    np.save(work / "sample.npy", np.array(toy_pairs(1)[0].sample))
    commands, (program,) = (
        re.findall(r"^```\n(.*?)^```", PAGE, re.M | re.S),
        re.findall(r"```python\n(.*?)```", PAGE, re.S),
    )
    for line in "".join(commands).splitlines():
        words = shlex.split(line, comments=True)
        words[0:1] = {"semi": ["-m", "semi.cli"], "python": []}[words[0]]
        done = subprocess.run([sys.executable, *words], cwd=work, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), line
    done = subprocess.run([sys.executable, "-c", program], cwd=work, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
