"""What every distribution of this repository has in common."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from semi.plugins.listing import GROUPS

ROOT = Path(__file__).parents[2]
PLUGINS = sorted(path.parent for path in ROOT.glob("semi_plugins/*/pyproject.toml"))


@pytest.mark.parametrize("folder", PLUGINS, ids=lambda folder: folder.name)
def test_a_plugin_is_a_proper_distribution(folder: Path) -> None:
    described = tomllib.loads((folder / "pyproject.toml").read_text("utf-8"))
    project, package = described["project"], f"semi_plugin_{folder.name}"
    assert project["name"] == f"semi-plugin-{folder.name}"
    assert {"version", "description", "readme", "requires-python", "license"} <= set(project)
    assert "semi-llm" in {Requirement(text).name for text in project["dependencies"]}
    assert set(project["entry-points"]) <= set(GROUPS.values())
    assert (folder / "src" / package / "py.typed").is_file()
    assert "py.typed" in described["tool"]["setuptools"]["package-data"][package]
    assert (folder / "README.md").is_file()
    assert list(folder.glob("tests/test_*.py"))


@pytest.mark.parametrize("package", ["semi", "semi_kernels"])
def test_the_core_is_typed(package: str) -> None:
    assert (ROOT / package / "py.typed").is_file()
    described = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    assert "py.typed" in described["tool"]["setuptools"]["package-data"][package]
