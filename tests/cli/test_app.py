"""The command line as a whole: light, and honest about usage."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version

import pytest
from typer.testing import CliRunner

from semi.cli import app

PROBE = """
import sys
from semi.cli import app
try:
    app(sys.argv[1:])
finally:
    heavy = {"torch", "triton", "semi_kernels", "transformers"}
    heavy |= {"numpy", "rdkit", "pyarrow", "matplotlib", "safetensors"}
    loaded = {module.partition(".")[0] for module in sys.modules}
    print("LOADED", *sorted(name for name in loaded if name in heavy or "semi_plugin" in name), file=sys.stderr)
"""
LIGHT = (["--help"], ["--version"], ["plugins"], ["plugins", "--json"], ["doctor", "--help"])


@pytest.mark.parametrize("arguments", LIGHT, ids=" ".join)
def test_light_verbs_load_neither_torch_nor_a_plugin(arguments):
    result = subprocess.run([sys.executable, "-c", PROBE, *arguments], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    assert result.stdout
    assert result.stderr == "LOADED\n"


def test_the_version_is_that_of_the_distribution():
    assert CliRunner().invoke(app, ["--version"]).stdout.strip() == f"semi-llm {version('semi-llm')}"


USAGE = {
    "no-such-verb": ("no-such-verb", "`semi --help`"),
    "--no-such-option": ("--no-such-option", "`semi --help`"),
    "descibe out": ("descibe", "describe"),
    "plugins --no-such-option": ("--no-such-option", "`semi plugins --help`"),
    "plugins too many": ("too", "`semi plugins --help`"),
    "plugins check too many": ("many", "`semi plugins check --help`"),
    "eval": ("DIR", "`semi eval --help`"),
    "eval out": ("--pairs", "`semi eval --help`"),
    "eval out --pairs p.csv --limit 0": ("--limit", "`semi eval --help`"),
    "adapt vectors --out out --seed x": ("--seed", "`semi adapt --help`"),
    "adapt vectors --out": ("--out",),
    "train no-such-part": ("no-such-part", "`semi train --help`"),
    "train projector p.yaml": ("--out", "`semi train projector --help`"),
}


@pytest.mark.parametrize("arguments", USAGE)
@pytest.mark.parametrize("standalone", [True, False])
def test_wrong_usage_is_one_plain_message_and_ends_with_2(arguments, standalone):
    result = CliRunner().invoke(app, arguments.split(), prog_name="semi", standalone_mode=standalone)
    assert (result.exit_code or result.return_value) == 2
    assert result.stdout == ""
    first, second = result.stderr.splitlines()
    assert first.startswith("error: ")
    assert second.startswith("  do this: ")
    for text in USAGE[arguments]:
        assert text in result.stderr


@pytest.mark.parametrize("arguments", [[], ["train"]])
def test_nothing_given_shows_the_help(arguments):
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert "--help" in result.stdout
    assert result.stderr == ""


def test_doctor_writes_nothing_but_its_findings():
    """In a fresh process: some packages warn when they are imported."""
    done = subprocess.run([sys.executable, "-m", "semi.cli", "doctor"], capture_output=True, text=True, timeout=120)
    assert done.stderr == ""
    assert "bitsandbytes" in done.stdout
    last = done.stdout.splitlines()[-1]
    assert last.startswith("everything works") if done.returncode == 0 else last.endswith("checks failed")


def test_every_verb_explains_itself():
    assert app.registered_commands
    for command in app.registered_commands:
        result = CliRunner().invoke(app, [command.name, "--help"])
        assert result.exit_code == 0
        assert command.callback.__doc__.splitlines()[0].split()[0] in result.stdout


def test_the_library_loads_no_triton_without_a_gpu():
    """Where it is installed: it takes a second and, on a CPU, is never used."""
    probe = "import sys, semi; assert 'torch' not in sys.modules; semi.Foundation; print('triton' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, timeout=120)
    assert done.stderr == ""
    assert done.stdout == "False\n"
