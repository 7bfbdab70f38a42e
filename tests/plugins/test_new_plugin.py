"""`semi new-plugin`: what it refuses, and that what it writes installs, conforms and passes its own tests."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
import venv
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from semi.cli import app
from semi.errors import InputError, OutputError
from semi.scaffold import LONGEST, write_plugin

PAGE = (Path(__file__).parents[2] / "docs" / "write-a-plugin.md").read_text("utf-8")
FILES = {
    ".github/workflows/test.yml",
    ".gitignore",
    "LICENSE",
    "README.md",
    "pyproject.toml",
    "src/semi_plugin_sea_floor/__init__.py",
    "src/semi_plugin_sea_floor/dataset.py",
    "src/semi_plugin_sea_floor/encoder.py",
    "src/semi_plugin_sea_floor/modality.py",
    "src/semi_plugin_sea_floor/plugin.py",
    "src/semi_plugin_sea_floor/py.typed",
    "src/semi_plugin_sea_floor/samples.py",
    "tests/test_plugin.py",
}


def test_it_writes_a_whole_distribution(tmp_path: Path) -> None:
    folder = write_plugin("sea-floor", tmp_path)
    assert folder.name == "semi-plugin-sea-floor"
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} == FILES
    for file in FILES:
        text = (folder / file).read_text("utf-8")
        assert not re.search(r"@[A-Z]+@", text), file
    project = tomllib.loads((folder / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["name"] == "semi-plugin-sea-floor"
    assert set(project["entry-points"]) == {"semi.modalities", "semi.datasets"}


@pytest.mark.parametrize("name", ["a", "x" * LONGEST, "a1-b2", "class", "import", "none", "test", "semi"])
def test_names_that_are_allowed_give_code_that_is_clean(name: str, tmp_path: Path) -> None:
    folder = write_plugin(name, tmp_path)
    for check in (["check", "--select", "E,F,I,UP,B,SIM,RUF,PT,C4"], ["format", "--check"]):
        done = subprocess.run([sys.executable, "-m", "ruff", *check, folder], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    "name",
    ["", "Sonar", "sonar_ping", "-sonar", "sonar-", "a--b", "9lives", "a b", "a/b", "../a", "ä", "x" * (LONGEST + 1)],
)  # fmt: skip
def test_what_is_no_name_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no name for a modality"):
        write_plugin(name, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_name_that_is_taken_is_refused(install: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    install("fake-thing")
    folder = tmp_path_factory.mktemp("work")
    with pytest.raises(InputError, match="the modality thing exists already"):
        write_plugin("thing", folder)
    with pytest.raises(InputError, match="vectors"):
        write_plugin("vectors", folder)
    assert not list(folder.iterdir())


def test_nothing_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "semi-plugin-sonar").mkdir()
    (tmp_path / "semi-plugin-other").symlink_to(tmp_path / "nowhere")
    for name in ("sonar", "other"):
        with pytest.raises(OutputError, match="exists already"):
            write_plugin(name, tmp_path)
    assert not list((tmp_path / "semi-plugin-sonar").iterdir())


def test_half_a_plugin_is_not_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, *_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OutputError, match="cannot be written"):
        write_plugin("sonar", tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_command_line_says_what_is_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["new-plugin", "sonar"])
    assert result.exit_code == 0
    assert "cd semi-plugin-sonar" in result.stdout
    again = CliRunner().invoke(app, ["new-plugin", "sonar"])
    assert again.exit_code == 2
    assert "exists already" in again.stderr


class Environment:
    """A new environment that sees the packages of this one, and whose own come first."""

    def __init__(self, folder: Path) -> None:
        venv.create(folder, with_pip=False)
        self.bin = folder / ("Scripts" if os.name == "nt" else "bin")
        self.python = self.bin / "python"
        (site,) = self.run("-c", "import sysconfig; print(sysconfig.get_path('purelib'))").split()
        here = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
        lines = "".join(f"import site; site.addsitedir({path!r})\n" for path in here)
        Path(site, "packages-of-the-tests.pth").write_text(lines)

    def run(self, *arguments: object, cwd: Path | None = None) -> str:
        done = subprocess.run([self.python, *map(str, arguments)], cwd=cwd, capture_output=True, text=True)
        assert done.returncode == 0, f"{arguments}\n{done.stdout}\n{done.stderr}"
        return done.stdout


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    return Environment(tmp_path_factory.mktemp("environment") / "venv")


NOTHING_FROM_AN_INDEX = ("--no-index", "--no-deps", "--no-build-isolation", "--disable-pip-version-check", "-q")


@pytest.mark.slow
def test_the_tutorial_runs(environment: Environment, tmp_path: Path) -> None:
    """The commands of docs/write-a-plugin.md as printed, `pip` without an index."""
    (commands,) = re.findall(r"## Start\n```\n(.*?)```", PAGE, re.S)
    here = tmp_path
    for line in commands.splitlines():
        program, *arguments = shlex.split(line)
        if program == "cd":
            here = here / arguments[0]
        elif program == "pip":
            environment.run("-m", "pip", arguments[0], *NOTHING_FROM_AN_INDEX, *arguments[1:], cwd=here)
        elif program == "pytest":
            assert re.search(r"\d\d passed", environment.run("-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=here))
        else:
            assert program == "semi"
            environment.run("-m", "semi.cli", *arguments, cwd=here)
    assert (here / "sonar-embeddings" / "manifest.json").is_file()
    listed = json.loads(environment.run("-m", "semi.cli", "plugins", "--json", cwd=tmp_path))["plugins"]
    (sonar,) = [plugin for plugin in listed if plugin["name"] == "sonar"]
    assert (sonar["distribution"], sonar["version"], sonar["state"]) == ("semi-plugin-sonar", "0.1.0", "available")


@pytest.mark.slow
def test_its_wheel_installs_by_name_from_a_folder(environment: Environment, tmp_path: Path) -> None:
    folder, wheels = write_plugin("lidar", tmp_path), tmp_path / "wheels"
    environment.run("-m", "pip", "wheel", *NOTHING_FROM_AN_INDEX, "--wheel-dir", wheels, folder)
    install = ("install", *NOTHING_FROM_AN_INDEX, "--find-links", wheels, "semi-plugin-lidar")
    environment.run("-m", "pip", *install, cwd=tmp_path)
    code = "import semi_plugin_lidar as p, pathlib; print(pathlib.Path(p.__file__).with_name('py.typed').exists())"
    assert environment.run("-c", code, cwd=tmp_path).strip() == "True"
    found = json.loads(environment.run("-m", "semi.cli", "plugins", "check", "lidar", "--json", cwd=tmp_path))
    (lidar,) = found["plugins"]
    assert lidar["state"] == "loaded"
    assert {finding["state"] for finding in lidar["conformance"]} == {"passed"}


def test_templates_are_package_data() -> None:
    """Wheels hold them: setuptools takes what [tool.setuptools.package-data] names."""
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))
    patterns = project["tool"]["setuptools"]["package-data"]["semi"]
    package = Path(__file__).parents[2] / "semi"
    named = {path for pattern in patterns for path in package.glob(pattern)}
    templates = {path for path in (package / "templates").rglob("*") if path.is_file()}
    assert templates
    assert templates <= named
    assert metadata.version("semi-llm")
