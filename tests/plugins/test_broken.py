"""Seven broken distributions and a healthy one, installed by pip: what users see, and that the healthy one works."""

from __future__ import annotations

import base64
import hashlib
import importlib
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from textwrap import dedent

import pytest
from typer.testing import CliRunner

from semi.cli import app

HOOK = "from semi.plugins import hookimpl\n"
NOTE_OF_IMPORT = """
import os
from pathlib import Path
Path(os.environ["IMPORTED"], __name__).touch()
"""
HEALTHY = """
    import numpy as np

    from semi.errors import PairsError
    from semi.modality import Modality
    from semi.plugins import hookimpl

    class Letters:
        id = "{name}/letters@1"
        width = 26

        def encode(self, samples):
            rows = [[text.count(chr(97 + place)) for place in range(26)] for text in samples]
            return np.array(rows, np.float32).reshape(-1, 26)

    class Words(Modality):
        name = "{name}"
        instruction = "Describe this."

        def encoder(self, name=None):
            return Letters()

        def parse(self, sample, *, folder=None):
            if not isinstance(sample, str):
                raise PairsError("no text", got=repr(sample))
            return sample

    @hookimpl
    def semi_modality(name):
        return Words() if name == "{name}" else None
"""


@dataclass(frozen=True)
class Broken:
    """A distribution that offers modalities, and what users see of the first one."""

    code: str
    offers: tuple[str, ...]
    listed: str
    """Its state in `semi plugins`."""
    checked: str
    """Its state in `semi plugins check`."""
    cause: str
    fix: str
    requires: str = "semi-llm>=0.1"


BROKEN = {
    "fake-import": Broken(
        "raise RuntimeError('no licence')", ("raises-at-import",), "available", "failed",
        "modality 'raises-at-import' of fake-import 1.0 cannot be imported (fake_import): RuntimeError: no licence",
        "pip install --upgrade fake-import, or report it to its authors",
    ),
    "fake-load": Broken(
        f"{HOOK}@hookimpl\ndef semi_modality(name): raise OSError('no such sensor')", ("raises-at-load",), "available",
        "failed",
        "modality 'raises-at-load' of fake-load 1.0: its hook semi_modality(name) failed: OSError: no such sensor",
        "pip install --upgrade fake-load, or report it to its authors",
    ),
    "fake-version": Broken(
        "", ("needs-another",), "incompatible", "incompatible",
        f"it wants semi-llm>=99, and {version('semi-llm')} is installed",
        "pip install --upgrade fake-version semi-llm", requires="semi-llm>=99",
    ),
    "fake-clash-a": Broken(
        "", ("clashes",), "clash", "clash", "fake-clash-a 1.0 and fake-clash-b 1.0 offer the same modality",
        "uninstall all but one: pip uninstall fake-clash-b (or, to keep them, allow one by SEMI_LOAD_PLUGINS)",
    ),
    "fake-clash-b": Broken(
        "", ("clashes",), "clash", "clash", "fake-clash-a 1.0 and fake-clash-b 1.0 offer the same modality",
        "uninstall all but one: pip uninstall fake-clash-b (or, to keep them, allow one by SEMI_LOAD_PLUGINS)",
    ),
    "fake-hang": Broken(
        "import time; time.sleep(600)", ("hangs",), "available", "failed",
        "loading it hangs: no end after 2 seconds",
        "pip install --upgrade fake-hang, or report it to its authors",
    ),
    "fake-half": Broken(
        HEALTHY.format(name="first-half"), ("second-half", "first-half"), "available", "failed",
        "modality 'second-half' of fake-half 1.0: its hook semi_modality(name) gave something else: None",
        "pip install --upgrade fake-half, or report it to its authors",
    ),
}  # fmt: skip
HEALTHY_ONE = Broken(HEALTHY.format(name="healthy"), ("healthy",), "available", "loaded", "", "")


def write_wheel(folder: Path, distribution: str, made: Broken) -> Path:
    """A wheel of one module, as a build backend writes it."""
    module = distribution.replace("-", "_")
    info = f"{module}-1.0.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\nRequires-Dist: {made.requires}\n"
    files = {
        f"{module}.py": NOTE_OF_IMPORT + dedent(made.code),
        f"{info}/METADATA": metadata,
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": "[semi.modalities]\n" + "".join(f"{name} = {module}\n" for name in made.offers),
    }
    digest = {name: base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()) for name, text in files.items()}
    rows = [f"{name},sha256={digest[name].rstrip(b'=').decode()},{len(text)}" for name, text in files.items()]
    path = folder / f"{module}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for name, text in files.items():
            wheel.writestr(name, text)
        wheel.writestr(f"{info}/RECORD", "\n".join([*rows, f"{info}/RECORD,,"]) + "\n")
    return path


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that pip installed all of them into."""
    wheels, site = tmp_path_factory.mktemp("wheels"), tmp_path_factory.mktemp("broken-site")
    made = {**BROKEN, "fake-healthy": HEALTHY_ONE}
    files = [str(write_wheel(wheels, name, distribution)) for name, distribution in made.items()]
    options = [
        "--quiet",
        "--no-deps",
        "--no-index",
        "--no-compile",
        "--disable-pip-version-check",
        "--target",
        str(site),
    ]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, *files], check=True)
    return site


@pytest.fixture
def imported(site: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """They are on sys.path; each leaves a file of its name in this folder when it is imported."""
    monkeypatch.syspath_prepend(site)
    folder = tmp_path / "imported"
    folder.mkdir()
    monkeypatch.setenv("IMPORTED", str(folder))
    monkeypatch.delenv("SEMI_LOAD_PLUGINS", raising=False)
    importlib.invalidate_caches()
    yield folder
    for name in [name for name in sys.modules if name.startswith("fake_")]:
        del sys.modules[name]


def test_the_list_shows_them_all_and_imports_none(imported: Path) -> None:
    result = CliRunner().invoke(app, ["plugins", "--json"])
    assert result.exit_code == 0
    rows = {(row["distribution"], row["name"]): row for row in json.loads(result.stdout)["plugins"]}
    for distribution, made in BROKEN.items():
        row = rows[distribution, made.offers[0]]
        assert (row["state"], row["version"]) == (made.listed, "1.0")
        if made.listed != "available":
            assert (row["cause"], row["fix"]) == (made.cause, made.fix)
    assert rows["fake-healthy", "healthy"]["state"] == "available"
    assert not list(imported.iterdir())


@pytest.mark.parametrize("distribution", BROKEN)
def test_a_check_says_what_is_wrong_and_what_to_do(
    distribution: str, imported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("semi.plugins.check.LOAD_LIMIT", 10.0 if distribution != "fake-hang" else 2.0)
    made = BROKEN[distribution]
    result = CliRunner().invoke(app, ["plugins", "check", distribution])
    assert result.exit_code == 1
    assert made.checked in result.stdout
    assert f"{made.offers[0]} ({distribution}): {made.cause}\n  do this: {made.fix}\n" in result.stdout
    assert not any(name.startswith("fake_") for name in sys.modules)


def test_the_whole_half_works(imported: Path) -> None:
    result = CliRunner().invoke(app, ["plugins", "check", "fake-half", "--json"])
    states = {row["name"]: row["state"] for row in json.loads(result.stdout)["plugins"]}
    assert states == {"first-half": "loaded", "second-half": "failed"}


@pytest.mark.parametrize("distribution", [name for name in BROKEN if name != "fake-hang"])
def test_adapting_to_a_broken_one_says_the_same(distribution: str, imported: Path, tmp_path: Path) -> None:
    made = BROKEN[distribution]
    result = CliRunner().invoke(
        app, ["adapt", made.offers[0], "--pairs", "pairs.jsonl", "--out", str(tmp_path / "out")]
    )
    said = result.stderr
    assert result.exit_code == 2
    assert "cannot be used" in said or "cannot be imported" in said or "its hook semi_modality(name)" in said
    assert made.fix in said
    assert not (tmp_path / "out").exists()


def test_a_healthy_modality_is_adapted_beside_them(
    site: Path, imported: Path, foundation_folder: Path, tiny_text_site: Path, tmp_path: Path
) -> None:
    """The real command in a process of its own: it imports the healthy plugin and none of the others."""
    words = ("red cat", "large dog", "blue house", "small tree", "green car", "two cats")
    lines = (json.dumps({"sample": word, "caption": f"a {word}"}) for word in words)
    (tmp_path / "pairs.jsonl").write_text("\n".join(lines))
    path = os.pathsep.join(map(str, (site, tiny_text_site, Path(__file__).parents[2])))

    def run(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "semi.cli", *words],
            cwd=tmp_path, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    run("adapt", "healthy", "--pairs", "pairs.jsonl", "--foundation", str(foundation_folder), "--steps", "2",
        "--no-diagnose", "--out", "words")  # fmt: skip
    assert run("describe", "words", "red dog").strip()
    assert "healthy" in run("plugins")
    assert [file.name for file in imported.iterdir()] == ["fake_healthy"]
