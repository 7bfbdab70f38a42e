"""Verbs and metrics that plugins bring to the command line."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import Result

TYPER = """
    import typer
    from semi.errors import InputError
    from semi.plugins import hookimpl

    app = typer.Typer()

    @app.command()
    def main(name: str, times: int = 1, code: int = 0):
        '''Greet somebody.'''
        if name == "nobody":
            raise InputError("nobody to greet", do="give a name")
        typer.echo(" ".join([f"hello {name}"] * times))
        raise typer.Exit(code)

    @hookimpl
    def semi_command(name):
        return app
"""
GROUP = """
    import typer
    from semi.plugins import hookimpl

    app = typer.Typer(help="Say things.")

    @app.command()
    def hello(): typer.echo("hello")

    @app.command()
    def bye(): typer.echo("bye")

    @hookimpl
    def semi_command(name):
        return app
"""
CLICK = """
    import click
    from semi.plugins import hookimpl

    @click.command()
    @click.argument("name")
    @click.option("--times", default=1)
    @click.option("--code", default=0)
    @click.pass_context
    def greet(context, name, times, code):
        '''Greet somebody.'''
        click.echo(" ".join([f"hello {name}"] * times))
        context.exit(code)

    @hookimpl
    def semi_command(name):
        return greet
"""
METRIC = """
    from semi.plugins import Metric, hookimpl

    class Length(Metric):
        name = "length"

        def score(self, texts, pairs):
            if len(texts) != len(pairs):
                raise RuntimeError("texts and pairs differ")
            return {result}

    @hookimpl
    def semi_metric(name):
        return Length()
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Path]]:
    """install("greet", TYPER) -> the folder of an installed distribution fake-greet with that verb."""
    site = tmp_path / "verbs"

    def write(name: str, code: str, group: str = "commands") -> Path:
        from textwrap import dedent

        info = site / f"fake_{name}-1.0.dist-info"
        info.mkdir(parents=True)
        (site / f"fake_{name}.py").write_text(dedent(code))
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: fake-{name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[semi.{group}]\n{name} = fake_{name}\n")
        monkeypatch.syspath_prepend(site)
        importlib.invalidate_caches()
        return site

    yield write
    for module in [name for name in sys.modules if name.startswith("fake_")]:
        del sys.modules[module]


@pytest.mark.parametrize("code", [TYPER, CLICK], ids=["typer", "click"])
class TestVerb:
    def test_it_runs(self, install, semi, code):
        install("greet", code)
        result = semi("greet", "you", "--times", "2")
        assert (result.exit_code, result.stdout) == (0, "hello you hello you\n")

    def test_it_has_its_own_help(self, install, semi, code):
        install("greet", code)
        result = semi("greet", "--help")
        assert result.exit_code == 0
        assert "Greet somebody." in result.stdout
        assert "--times" in result.stdout

    def test_its_exit_code_is_the_programs(self, install, semi, code):
        install("greet", code)
        assert semi("greet", "you", "--code", "3").exit_code == 3

    def test_wrong_usage_is_told_as_of_any_verb(self, install, semi, code):
        install("greet", code)
        result = semi("greet", "you", "--no-such-option")
        assert result.exit_code == 2
        assert result.stderr.startswith("error: no such option")
        assert "semi greet --help" in result.stderr

    def test_it_is_listed_without_being_imported(self, install, semi, code):
        install("greet", "raise RuntimeError")
        result = semi("--help")
        assert result.exit_code == 0
        assert "greet" in result.stdout
        assert "fake-greet 1.0" in result.stdout
        assert "fake_greet" not in sys.modules


def test_an_error_of_semi_is_told_as_such(install, semi):
    install("greet", TYPER)
    result = semi("greet", "nobody")
    assert result.exit_code == 2
    assert result.stderr == "error: nobody to greet\n  do this: give a name\n"


def test_a_verb_may_have_verbs(install, semi):
    install("say", GROUP)
    assert semi("say", "bye").stdout == "bye\n"
    assert "Say things." in semi("say", "--help").stdout
    assert semi("say", "nothing").exit_code == 2


def test_a_broken_verb_is_told_when_it_is_typed(install, semi):
    install("greet", "raise RuntimeError('no licence')")
    result = semi("greet", "you")
    assert result.exit_code == 2
    assert "command 'greet' of fake-greet 1.0 cannot be imported" in result.stderr
    assert "RuntimeError: no licence" in result.stderr
    assert semi("plugins").exit_code == 0


def test_a_blocked_verb_is_told_and_not_listed(install, semi, monkeypatch):
    install("greet", "raise RuntimeError")
    monkeypatch.setenv("SEMI_LOAD_PLUGINS", "")
    assert "greet" not in semi("--help").stdout
    result = semi("greet")
    assert result.exit_code == 2
    assert "SEMI_LOAD_PLUGINS does not name fake-greet" in result.stderr


def test_a_verb_of_semi_cannot_be_taken(install, semi):
    install("doctor", "raise RuntimeError")
    result = semi("doctor", "--help")
    assert "Check the installation" in result.stdout
    assert "fake_doctor" not in sys.modules


class TestMetric:
    @pytest.fixture
    def evaluate(self, toy_integration, tiny_text, pairs_file, semi) -> Callable[..., Result]:
        return lambda *options: semi("eval", toy_integration, "--pairs", pairs_file(4), *options)

    def test_its_score_stands_among_the_others(self, install, evaluate):
        install("length", METRIC.format(result="sum(map(len, texts)) / len(texts)"), "metrics")
        result = evaluate("--metric", "length", "--json")
        assert result.exit_code == 0, result.stderr
        scores = json.loads(result.stdout)
        assert scores["length"] > 0
        assert scores["n"] == 4
        assert "length" in evaluate("--metric", "length").stdout

    @pytest.mark.parametrize("answer", ["float('nan')", "'good'", "None", "1 / 0"])
    def test_one_that_gives_no_number_is_an_error(self, install, evaluate, answer):
        install("length", METRIC.format(result=answer), "metrics")
        result = evaluate("--metric", "length")
        assert result.exit_code == 2
        assert "the metric length" in result.stderr

    def test_an_unknown_one_is_told_at_once(self, refused, toy_integration, tiny_text, pairs_file):
        refused(
            "eval", toy_integration, "--pairs", pairs_file(4), "--metric", "lenght", says=("unknown metric 'lenght'",)
        )

    def test_it_needs_text(self, refused, toy_integration, tiny_text, pairs_file):
        options = ("--metric", "length", "--no-generate")
        refused("eval", toy_integration, "--pairs", pairs_file(4), *options, says=("needs generated text",))


def test_the_list_takes_less_than_half_a_second_and_no_torch():
    """Seconds of the processor, which do not depend on what else runs; the best of three processes."""
    probe = "import os, sys; from semi.cli import app; app(['plugins', '--json'], standalone_mode=False); "
    probe += "print('torch' in sys.modules, sum(os.times()[:2]), file=sys.stderr)"
    seconds = []
    for _ in range(3):
        done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True, timeout=60)
        torch, time = done.stderr.split()
        seconds.append(float(time))
        assert torch == "False"
        assert json.loads(done.stdout)["plugins"]
    assert min(seconds) < 0.5, seconds
