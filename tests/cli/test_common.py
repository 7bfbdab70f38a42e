"""How errors end the program, and what goes to which stream."""

from __future__ import annotations

import errno
import json
import logging
import sys

import pytest
import typer
from typer.testing import CliRunner

from semi.cli import _common
from semi.cli._common import FORCE, JSON, QUIET, SEED, emit_json, guard, print_table, progress
from semi.errors import AssetError, PairsError, SemiError


def ending(error: BaseException) -> tuple[int, str]:
    """Exit code and stderr of a verb that raises `error`."""
    app = typer.Typer(pretty_exceptions_enable=False)

    @app.command()
    @guard
    def verb() -> None:
        raise error

    result = CliRunner().invoke(app)
    assert result.stdout == ""
    return result.exit_code, result.stderr


@pytest.mark.parametrize(
    ("error", "code"),
    [(SemiError("it failed"), 1), (AssetError("no index"), 1), (PairsError("line 7 is broken"), 2)],
    ids=lambda value: type(value).__name__,
)
def test_an_error_of_semi_is_its_message_and_its_exit_code(error, code):
    assert ending(error) == (code, f"error: {error}\n")


def test_all_parts_of_an_error_are_shown():
    code, text = ending(PairsError("a.jsonl line 7", got="no caption", expected="a caption", do="write one"))
    assert code == 2
    assert text.splitlines() == [
        "error: a.jsonl line 7",
        "  got: no caption",
        "  expected: a caption",
        "  do this: write one",
    ]


def test_a_full_disk_is_told_as_such():
    code, text = ending(OSError(errno.ENOSPC, "No space left on device", "/out/embeddings.safetensors"))
    assert code == 1
    assert "disk is full while writing /out/embeddings.safetensors" in text
    assert "do this" in text


def test_an_interrupt_ends_as_shells_expect():
    assert ending(KeyboardInterrupt())[0] == 130


def test_an_unexpected_exception_is_one_line_without_a_traceback(monkeypatch):
    monkeypatch.delenv("SEMI_DEBUG", raising=False)
    code, text = ending(ValueError("first\nsecond"))
    assert code == 1
    assert text == "error: ValueError: first (set SEMI_DEBUG=1 for the traceback)\n"


def test_the_traceback_can_be_asked_for(monkeypatch):
    monkeypatch.setenv("SEMI_DEBUG", "1")
    code, text = ending(ValueError("first"))
    assert code == 1
    assert "Traceback (most recent call last)" in text


@pytest.mark.parametrize(("error", "code"), [(typer.Exit(3), 3), (typer.BadParameter("no"), 2), (SystemExit(4), 4)])
def test_exits_that_are_meant_pass_through(error, code):
    assert ending(error)[0] == code


def test_guarding_twice_changes_nothing():
    with pytest.raises(typer.Exit) as caught, guard, guard:
        raise PairsError("wrong")
    assert caught.value.exit_code == 2


def test_options_of_the_same_name():
    app = typer.Typer()

    @app.command()
    def verb(as_json: JSON = False, quiet: QUIET = False, force: FORCE = False, seed: SEED = 0) -> None:
        emit_json([as_json, quiet, force, seed])

    result = CliRunner().invoke(app, ["--json", "-q", "--force", "--seed", "7"])
    assert json.loads(result.stdout) == [True, True, True, 7]
    assert CliRunner().invoke(app, ["--seed", "-1"]).exit_code == 2


def test_json_has_no_nan():
    with pytest.raises(ValueError, match="not JSON compliant"):
        emit_json({"loss": float("nan")})


@pytest.mark.parametrize("quiet", [False, True])
def test_what_is_soon_done_writes_no_progress_into_a_log(capsys, quiet):
    with progress("Encoding", 3, quiet=quiet) as bar:
        bar.to(2, 3, "Encoding again")
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


def test_what_takes_long_writes_lines_into_a_log(capsys, monkeypatch):
    monkeypatch.setattr(_common, "SECONDS_BETWEEN_LINES", 0)
    with progress("Encoding", 3000) as bar:
        bar.to(1000)
        bar.to(2000, description="Encoding: nearly")
    with progress("minilm", in_bytes=True) as bar:
        bar.to(1_500_000)
        bar.to(2_000_000, 83_500_000)
    with progress("Encoding", 3, quiet=True) as bar:
        bar.to(1)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        "Encoding, 1,000 of 3,000",
        "Encoding: nearly, 2,000 of 3,000",
        "minilm, 1.5 MB",
        "minilm, 2.0 MB of 83.5 MB",
    ]


def test_each_stage_has_its_line_in_a_log(capsys):
    with progress("Loading", 2, stages=True) as bar:
        for note in ("adapting", "adapting, loss 3.2", "adapting, loss 3.1"):
            bar.to(0, description=note)
        bar.to(1, description="scoring")
    assert capsys.readouterr().err.splitlines() == ["adapting, 0 of 2", "scoring, 1 of 2"]


def test_progress_on_a_terminal_goes_to_stderr(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    with progress("Encoding", 3) as bar:
        bar.to(2)
        bar.to(3)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Encoding" in captured.err
    assert "3/3" in captured.err


def test_advice_of_bitsandbytes_does_not_reach_stderr(capsys):
    with guard:
        logging.getLogger("bitsandbytes.backends.cpu.ops").warning("pip install kernels")
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


def test_a_table_is_aligned_and_never_cut(capsys):
    print_table(("name", "found"), [("a", "x" * 300), ("longer", None)])
    assert capsys.readouterr().out.splitlines() == ["name    found", "a       " + "x" * 300, "longer  "]
