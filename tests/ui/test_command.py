"""`semi ui` refuses before it loads, and its page of the docs tells of what exists."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from semi.cli import app
from semi.errors import ArtifactError
from tests.ui.conftest import PAGE, ROOT


@pytest.fixture(autouse=True)
def signals() -> Iterator[None]:
    """The verb is the process's last; here others follow."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--dir", "nowhere"], "mkdir nowhere"),
        (["--foundation", "no-such-foundation"], "no-such-foundation"),
        (["--port", "70000"], "65535"),
        (["--dir", "a-file"], "name a folder"),
        (["--study", "nowhere"], "nowhere is no folder"),
        (["--study", "."], "holds no summary"),
    ],
    ids=["folder", "foundation", "port", "file", "no study", "empty study"],
)
def test_wrong_options_are_refused(
    options: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("gradio")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("semi.cli.ui._serve", lambda *_: pytest.fail("it was not refused before"))
    (tmp_path / "a-file").touch()
    result = CliRunner().invoke(app, ["ui", *options])
    assert result.exit_code == 2
    assert says in result.stderr
    assert "Traceback" not in result.stderr
    assert ("mkdir" in result.stderr) == ("mkdir" in says)


def test_what_is_refused_imports_nothing_heavy(tmp_path: Path) -> None:
    pytest.importorskip("gradio")
    program = (
        "import sys; from semi.cli.ui import command\ntry: command(study='.')\nexcept Exception as e: print(e.what)\n"
    )
    program = program.replace("'.'", "__import__('pathlib').Path('.')")
    program += "print({'torch', 'gradio'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.splitlines() == [". holds no summary of a study", "set()"], done.stderr


def test_without_gradio_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("semi.cli.ui.find_spec", lambda name: None)
    result = CliRunner().invoke(app, ["ui"])
    assert result.exit_code == 2
    assert "pip install 'semi-llm[ui]'" in result.stderr


ENDED_AT_WORK = """
import sys, time
import semi.ui.page, semi.ui.server, semi.ui.workshop
from semi.cli import app
from semi.pairs import Pair
from semi.settings import Settings
from semi.ui.job import Order
from semi.vectors import Vectors

def page(workshop, study):
    pairs = [Pair(Vectors().parse([i, 1, 0]), f"{i}") for i in range(12)]
    workshop.start(Order(Vectors(), pairs, [], Settings(steps=100_000)))
    return workshop

def serve(workshop, listening, ready):
    ready()
    while workshop.job.progress.step < 3:
        assert workshop.job.state == "running", workshop.job.error
        time.sleep(0.01)
    raise KeyboardInterrupt

semi.ui.page.page, semi.ui.server.serve = page, serve
semi.ui.workshop.CLOSE_S = 0
app(["ui", "--port", "0", "--foundation", sys.argv[1]])
"""


def test_a_step_at_work_does_not_make_its_end_a_crash(
    foundation_folder: Path, tiny_text_site: Path, tmp_path: Path
) -> None:
    pytest.importorskip("gradio")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tiny_text_site), str(ROOT)])}
    command = [sys.executable, "-c", ENDED_AT_WORK, str(foundation_folder)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=200)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Ctrl-C ends it" in done.stdout


def test_a_folder_that_is_no_study_is_named(tmp_path: Path) -> None:
    pytest.importorskip("gradio")
    from semi.ui.summary import read_summary

    with pytest.raises(ArtifactError, match="no summary of a study"):
        read_summary(tmp_path)
    (tmp_path / "summary.json").write_text(json.dumps({"rows": [{"condition": "noise"}]}), "utf-8")
    with pytest.raises(ArtifactError, match="no summary of shots"):
        read_summary(tmp_path)


def test_the_options_of_the_page_exist() -> None:
    known = {option for parameter in get_command(app).commands["ui"].params for option in parameter.opts}
    commands = re.findall(r"^semi (ui.*)$", PAGE, re.M)
    assert commands
    for command in commands:
        assert {word for word in shlex.split(command) if word.startswith("--")} <= known


def test_the_pictures_of_the_page_are_small() -> None:
    pictures = re.findall(r"\((ui-\w+\.png)\)", PAGE)
    assert len(pictures) >= 2
    for name in pictures:
        assert (ROOT / "docs" / name).stat().st_size < 150_000
