"""docs/plugins.md says what the plugins of this repository declare, and no figure that their own pages do not have."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from semi.errors import SemiError
from semi.plugins import load_dataset, load_modality

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "plugins.md").read_text("utf-8")
FOLDERS = {path.parent.name: path for path in ROOT.glob("semi_plugins/*/pyproject.toml")}


def declared(folder: str, group: str) -> set[str]:
    """Names of a plugin's entry points of one group."""
    project: dict[str, Any] = tomllib.loads(FOLDERS[folder].read_text("utf-8"))["project"]
    return set(project["entry-points"].get(f"semi.{group}", {}))


MODALITIES = [folder for folder in sorted(FOLDERS) if declared(folder, "modalities")]


def rows(section: str) -> list[list[str]]:
    """The cells of a section's table, without its head."""
    text = PAGE.split(f"\n## {section}\n")[1].split("\n## ")[0]
    table = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in cells] for cells in table[2:]]


def row(folder: str) -> list[str]:
    (found,) = [cells for cells in rows("Modalities") if cells[0] == f"[{folder}](../semi_plugins/{folder}/README.md)"]
    return found


def test_every_folder_is_on_the_page_and_no_other() -> None:
    assert set(re.findall(r"\]\(\.\./semi_plugins/(\w+)/README\.md\)", PAGE)) == set(FOLDERS)
    assert len(rows("Modalities")) == len(MODALITIES)
    foundations = [name for folder in FOLDERS for name in declared(folder, "foundations")]
    assert all(f"`{name}`" in PAGE for name in foundations)


@pytest.mark.parametrize("folder", MODALITIES)
def test_encoders_and_their_widths(folder: str) -> None:
    (name,) = declared(folder, "modalities")
    modality = load_modality(name)
    page = (ROOT / "semi_plugins" / folder / "README.md").read_text("utf-8")
    told = re.findall(r"`([\w-]+)` (?:(\d+) x )?(\d+|of the model)( \*hub\*)?", row(folder)[2])
    assert [encoder for encoder, *_ in told] == list(modality.encoders)
    for encoder, parts, width, hub in told:
        assert not parts or f"(n, {parts}, {width})" in page
        if hub:  # loading it would ask the hub
            continue
        try:
            assert modality.encoder(encoder).width == int(width)
        except SemiError:  # weights that were not fetched
            continue


@pytest.mark.parametrize("folder", MODALITIES)
def test_data_sets_and_their_licences(folder: str) -> None:
    names = declared(folder, "datasets")
    assert set(re.findall(r"`([\w-]+)`", row(folder)[3])) == names
    for name in names:
        data = load_dataset(name)
        assert [f"`{name}`", data.modality, data.licence] in rows("Data sets and licences")


def test_no_data_set_is_invented() -> None:
    names = {name for folder in FOLDERS for name in declared(folder, "datasets")}
    assert {cells[0].strip("`") for cells in rows("Data sets and licences")} == names


def test_figures_are_those_of_the_plugins_pages() -> None:
    pages = {folder: (ROOT / "semi_plugins" / folder / "README.md").read_text("utf-8") for folder in MODALITIES}
    measured = rows("Measured")
    sections = {folder: page.partition("## Measured")[2].partition("\n## ")[0] for folder, page in pages.items()}
    told = {cells[0] for cells in measured}
    assert {folder for folder, text in sections.items() if text} == told == set(MODALITIES)
    for folder, pairs, encoder, *losses in measured:
        for cell in (pairs, encoder, *losses):
            assert cell in pages[folder], f"{folder}: {cell}"
