"""The plugin in docs/write-a-plugin.md works as printed."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from semi.encoding import embed
from semi.errors import PairsError
from semi.pairs_io import read_pairs
from semi.plugins import load_dataset, load_modality

PAGE = (Path(__file__).parents[2] / "docs" / "write-a-plugin.md").read_text("utf-8")
MODULE, ASSET = re.findall(r"^```python\n(.*?)^```$", PAGE, re.M | re.S)


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
    assert "semi-llm>=0.1" in project["dependencies"]


def test_asset_of_the_guide() -> None:
    space: dict[str, object] = {}
    exec(compile(ASSET, "write-a-plugin.md", "exec"), space)
    assert "MINILM" in space
