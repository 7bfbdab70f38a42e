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
    heavy = {"torch", "transformers", "numpy", "rdkit", "pyarrow", "matplotlib", "safetensors"}
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


@pytest.mark.parametrize("arguments", [["no-such-verb"], ["plugins", "--no-such-option"], ["plugins", "too", "many"]])
def test_wrong_usage_ends_with_2(arguments):
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert result.stdout == ""


def test_every_verb_explains_itself():
    assert app.registered_commands
    for command in app.registered_commands:
        result = CliRunner().invoke(app, [command.name, "--help"])
        assert result.exit_code == 0
        assert command.callback.__doc__.splitlines()[0].split()[0] in result.stdout
