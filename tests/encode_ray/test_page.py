"""docs/encode.md as a user would type it: every command and the program."""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from semi.cli import app
from semi.encoding import load_encoded

ray = pytest.importorskip("ray")
pytest.importorskip("ray.data")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:ray", "ignore::ResourceWarning")
PAGE = (Path(__file__).parents[2] / "docs" / "encode.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.M | re.S)
COMMANDS = [words for kind, text in BLOCKS if not kind for line in text.splitlines() if (words := shlex.split(line))]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where pairs.jsonl lies; one cluster for all that is run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RAY_BACKEND_LOG_LEVEL", raising=False)
    rows = np.random.default_rng(0).standard_normal((200, 8)).round(3).tolist()
    lines = [json.dumps({"sample": row, "caption": f"number {i}"}) for i, row in enumerate(rows)]
    (tmp_path / "pairs.jsonl").write_text("\n".join(lines))
    ray.init("local", num_cpus=2, object_store_memory=2**27, include_dashboard=False, log_to_driver=False)
    yield tmp_path
    ray.shutdown()


def test_the_page_runs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(COMMANDS) == 4
    for words in COMMANDS:
        words = [word for word in words if not word.startswith("OMP_NUM_THREADS=")]  # of a shell
        done = CliRunner().invoke(app, words[1:])
        assert done.exit_code == 0, (words, done.output)
        assert "200 x 8 embeddings" in done.stdout
    found = [{path.name: path.read_bytes() for path in (folder / f"encoded-{n}").iterdir()} for n in ("parquet", "ray")]
    assert found[0] == found[1]
    np.testing.assert_array_equal(load_encoded("encoded").embeddings, load_encoded("encoded-ray").embeddings)
    (program,) = (text for kind, text in BLOCKS if kind == "python")
    exec(compile(program, "encode.md", "exec"), {"__name__": "__main__"})
    assert capsys.readouterr().out == "(200, 8)\n"
    os.environ.pop("RAY_BACKEND_LOG_LEVEL", None)  # which the command line set
