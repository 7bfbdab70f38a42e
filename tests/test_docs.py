"""Docs and pins that follow from the code are current."""

from __future__ import annotations

import importlib.util
import json
import re
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from semi.merge.config import MergeConfig
from semi.pairs_io import read_labelled, read_pairs
from semi.vectors import Vectors
from semi.yaml_config import read_config

ROOT = Path(__file__).parents[1]
PLACES = ("*.md", "docs/*.md", "semi_plugins/*/README.md", "semi_kernels/**/README.md")
PAGES = sorted(page for place in PLACES for page in ROOT.glob(place))


def test_cli_page_is_current() -> None:
    spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    assert (ROOT / "docs" / "cli.md").read_text("utf-8") == generate.render(), "run `make docs`"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text("utf-8")):
        assert target.startswith("https://") or (page.parent / target).exists(), target


def examples(kind: str) -> list[str]:
    """The fenced blocks of one kind in the page about pairs files."""
    page = (ROOT / "docs" / "bring-your-own-data.md").read_text("utf-8")
    return re.findall(rf"^```{kind}\n(.*?)^```$", page, re.M | re.S)


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_pairs_files_of_the_docs_are_read(kind: str, tmp_path: Path) -> None:
    found = examples(kind)
    assert found
    for text in found:
        (tmp_path / f"pairs.{kind}").write_text(text, "utf-8")
        assert len(read_pairs(tmp_path / f"pairs.{kind}", modality=Vectors()).pairs) == 2


def test_python_of_the_docs_makes_files_that_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (script,) = examples("python")
    exec(compile(script, "bring-your-own-data.md", "exec"), {})
    found = read_labelled("windows.npy", "labels.csv", "The person is {label}.", modality=Vectors())
    assert {pair.caption for pair in found.pairs} == {"The person is walking.", "The person is running."}


def test_merge_of_the_docs_is_a_configuration(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "merge.md").read_text("utf-8")
    (example,) = re.findall(r"^```yaml\n(.*?)^```$", page, re.M | re.S)
    (tmp_path / "merge.yaml").write_text(example, "utf-8")
    config = read_config(tmp_path / "merge.yaml", MergeConfig)
    assert [model.name for model in config.models] == ["vision", "audio"]


def test_every_dependency_is_pinned() -> None:
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pinned = {canonicalize_name(Requirement(line).name) for line in lines if not line.startswith("#")}
    # torch's own pins: which of them there are depends on its build
    assert {name for name in installed_dependencies() if not re.match("nvidia-|cuda-|triton", name)} <= pinned


def installed_dependencies() -> set[str]:
    """Canonical names of all distributions that semi, its extras of `make setup` and its plugins need here."""
    extras = {"semi-llm": {"nf4", "kernels", "plot", "parquet", "onnx", "serve", "ui", "ray", "tensorboard", "dev"}}
    plugins = [path.parent.name for path in ROOT.glob("semi_plugins/*/pyproject.toml")]
    todo = ["semi-llm", *(f"semi-plugin-{name}" for name in plugins)]
    found: set[str] = set()
    while todo:
        name = canonicalize_name(todo.pop())
        if name in found:
            continue
        found.add(name)
        for text in metadata.requires(name) or []:
            wanted = Requirement(text)
            wanted_for = {"", *extras.get(name, ())}
            if wanted.marker is None or any(wanted.marker.evaluate({"extra": extra}) for extra in wanted_for):
                todo.append(wanted.name)
    return {name for name in found if not name.startswith("semi-")}


def test_citation_names_both_papers() -> None:
    text = (ROOT / "CITATION.cff").read_text("utf-8")
    for paper in ("2509.04606", "2505.17110"):
        assert f"arXiv:{paper}" in text
    assert json.dumps(metadata.version("semi-llm")) in text
