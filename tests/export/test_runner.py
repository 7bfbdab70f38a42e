"""runner.py on its own: what it imports, what it refuses, its command line."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from semi.export.folder import export, load_runner
from tests.export.conftest import WIDTH

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

SOURCE = resources.files("semi").joinpath("templates", "runner.py").read_text("utf-8")


@pytest.fixture(scope="module")
def out(made: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runner") / "onnx"
    export(made("vectors")[0], folder)
    return folder


def test_it_is_python_3_10_with_two_packages() -> None:
    tree = ast.parse(SOURCE, feature_version=(3, 10))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    packages = {name.split(".")[0] for name in imported} - sys.stdlib_module_names
    assert packages == {"numpy", "onnxruntime"}


def test_its_command_line_runs_without_semi(out: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "sample.npy", np.ones(WIDTH))
    script = (
        "import runpy, sys; sys.argv = ['runner.py', *sys.argv[1:]]; sys.modules |= {'torch': None, 'semi': None};"
        f"runpy.run_path({str(out / 'runner.py')!r}, run_name='__main__')"
    )
    options = ("--soft-tokens", tmp_path / "soft.npy", "--repeat", 3)
    command = [sys.executable, "-c", script, *map(str, (out, tmp_path / "sample.npy", *options))]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert len(found["labels"]) == 3
    assert found["soft_tokens"] == list(np.load(tmp_path / "soft.npy").shape)
    assert 0 < found["milliseconds"]["p50"] <= found["milliseconds"]["max"]


@pytest.mark.parametrize(
    ("sample", "says"),
    [
        (np.ones(WIDTH + 1), "(t, 10)"),
        (np.ones((1, 1, WIDTH)), "(1, 1, 10)"),
        (np.ones((0, WIDTH)), "(0, 10)"),
        (np.full(WIDTH, np.nan), "NaN"),
        (np.full(WIDTH, 1e300), "NaN or infinity"),
        (["a"] * WIDTH, "the encoder's embedding"),
        (np.ones(WIDTH, complex), "complex128"),
    ],
    ids=["width", "axes", "empty", "nan", "beyond float32", "text", "complex"],
)
def test_what_is_no_sample_is_refused(out: Path, sample: Any, says: str) -> None:
    with pytest.raises(ValueError, match="sample") as refused:
        load_runner(out).Runner(out).read(sample)
    assert says in str(refused.value)


def test_a_changed_or_incomplete_folder_is_refused(
    out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = shutil.copytree(out, tmp_path / "copy")
    (copy / "labels.json").write_bytes((copy / "labels.json").read_bytes() + b"\n")
    module = load_runner(out)
    assert module.main([str(copy), "sample.npy"]) == 2
    assert "labels.json is missing or was changed" in capsys.readouterr().err
    (tmp_path / "text.npy").write_text("no array")
    np.savez(tmp_path / "two.npz", a=np.ones(2), b=np.ones(2))
    for file, says in (
        ("nowhere.npy", "No such file"),
        ("text.npy", "no .npy file of numbers"),
        ("two.npz", "several"),
    ):
        assert module.main([str(out), str(tmp_path / file)]) == 2
        message = capsys.readouterr().err
        assert says in message
        assert "allow_pickle" not in message
    (copy / "manifest.json").unlink()
    with pytest.raises(ValueError, match="no manifest"):
        module.Runner(copy)
