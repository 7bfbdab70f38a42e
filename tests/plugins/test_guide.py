"""The plugin in docs/write-a-plugin.md works as printed."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest
from typer.testing import CliRunner

from semi.cli import app
from semi.encoding import embed
from semi.errors import PairsError
from semi.pairs import Pair
from semi.pairs_io import read_pairs
from semi.plugins import load_dataset, load_foundation, load_metric, load_modality
from semi.plugins.bystanders import STRICT
from semi.plugins.listing import ALLOW_LIST, State

PAGE = (Path(__file__).parents[2] / "docs" / "write-a-plugin.md").read_text("utf-8")
MODULE, ASSET, CONFORMANCE, FOUNDATION, METRIC, VERB = re.findall(r"^```python\n(.*?)^```$", PAGE, re.M | re.S)


def test_plugin_of_the_guide(install: Callable[..., Path]) -> None:
    install("semi-plugin-dna", offers=["dna"], code=MODULE)
    modality = load_modality("dna")
    assert embed(modality.encoder(), ["ACGTACGT", "TTTTTT"]).shape == (2, 64)
    with pytest.raises(PairsError, match="not a DNA sequence"):
        modality.parse("ACGU")


def test_data_set_of_the_guide(install: Callable[..., Path]) -> None:
    install("semi-plugin-dna", offers=["dna"], code=MODULE)
    install("semi-plugin-promoters", offers=["promoters"], kind="datasets", code=MODULE)
    assert load_dataset("promoters").modality == "dna"
    assert len(read_pairs("promoters", modality=load_modality("dna")).pairs) == 2


def test_project_file_of_the_guide() -> None:
    (text,) = re.findall(r"^```toml\n(.*?)^```$", PAGE, re.M | re.S)
    project = tomllib.loads(text)["project"]
    assert set(project["entry-points"]) == {"semi.modalities", "semi.datasets"}
    assert "semi-llm>=0.1,<1" in project["dependencies"]


def test_asset_of_the_guide() -> None:
    space: dict[str, object] = {}
    exec(compile(ASSET, "write-a-plugin.md", "exec"), space)
    assert "MINILM" in space


def test_conformance_of_the_guide(install: Callable[..., Path]) -> None:
    """Run by pytest itself, beside the plugin."""
    module = install("semi-plugin-dna", offers=["dna"], code=MODULE)
    test = module.with_name("test_dna.py")
    test.write_text(f"from semi_plugin_dna import Dna\n{CONFORMANCE}", "utf-8")
    (module.parent / "pytest.ini").write_text("[pytest]\npythonpath = .\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", test.name],
        cwd=module.parent,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    assert re.search(r"^2\d passed, 2 skipped", done.stdout, re.M), done.stdout


def test_foundation_of_the_guide(install: Callable[..., Path]) -> None:
    install("semi-plugin-model", offers=["my-model"], kind="foundations", code=FOUNDATION)
    assert load_foundation("my-model").folder.name == "foundation"


def test_metric_of_the_guide(install: Callable[..., Path]) -> None:
    install("semi-plugin-brevity", offers=["brevity"], kind="metrics", code=METRIC)
    assert load_metric("brevity").score(["a b", "c d"], [Pair(1, "a b c"), Pair(2, "d")]) == 1


def test_verb_of_the_guide(install: Callable[..., Path]) -> None:
    install("semi-plugin-dna-verbs", offers=["dna-complement"], kind="commands", code=VERB)
    assert CliRunner().invoke(app, ["dna-complement", "AACG"]).stdout == "CGTT\n"


def test_states_and_variables_of_the_guide() -> None:
    states = get_args(State)
    assert set(re.findall(r"^\| (\w+) \| [^|]+ \|$", PAGE.split("## When")[1], re.M)) - {"state"} == set(states)
    for variable in (ALLOW_LIST, STRICT):
        assert f"| `{variable}" in PAGE
