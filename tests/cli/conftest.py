"""The command line run in process on tiny real models, and what a refusal must look like."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest
from click.testing import Result
from typer.testing import CliRunner

from semi.adaptation import adapt
from semi.cli import app
from semi.foundation import Foundation
from semi.pairs import Pair

WIDTH = 10
COLOURS, THINGS = ("red", "green", "blue"), ("cat", "dog", "house", "car")
LOGARITHMS = """
    import numpy as np

    from semi.modality import Modality
    from semi.plugins import hookimpl


    class Logarithm:
        '''A number and its logarithm: NaN below zero, -inf at zero.'''

        id = "logarithms/log@1"
        width = 2

        def encode(self, samples):
            numbers = np.array(samples, np.float32)
            with np.errstate(all="ignore"):
                return np.stack([numbers, np.log(numbers)], axis=1)


    class Logarithms(Modality):
        name = "logarithms"
        instruction = "Describe this number."

        def encoder(self, name=None):
            return Logarithm()

        def parse(self, sample, *, folder=None):
            return float(sample)


    @hookimpl
    def semi_modality(name):
        return Logarithms() if name == "logarithms" else None
"""


def toy_pairs(n: int, seed: int = 0) -> list[Pair]:
    """A toy sensor: colour and thing each move the vector along a direction of their own."""
    maps = np.random.default_rng(1).standard_normal((7, WIDTH))
    draw = np.random.default_rng(seed)
    found = []
    for i in range(n):
        thing = int(draw.integers(4))
        vector = maps[i % 3] + maps[3 + thing] + 0.05 * draw.standard_normal(WIDTH)
        found.append(Pair(vector.round(4).tolist(), f"{COLOURS[i % 3]} {THINGS[thing]}"))
    return found


@pytest.fixture(autouse=True)
def quiet_transformers() -> Iterator[None]:
    """The command line silences transformers before its import; in process that is too late, see test_streams.py."""
    from transformers.utils import logging

    level = logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    yield
    logging.enable_progress_bar()
    logging.set_verbosity(level)


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The empty working directory of one command."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def pairs_file(work: Path) -> Callable[..., Path]:
    """Writes good pairs of the toy sensor, with some lines replaced: `pairs_file(lines={7: "{"})`."""

    def write(n: int = 12, *, name: str = "pairs.jsonl", lines: dict[int, str] | None = None, seed: int = 0) -> Path:
        text = [json.dumps({"sample": p.sample, "caption": p.caption}) for p in toy_pairs(n, seed)]
        for number, line in (lines or {}).items():
            text[number - 1] = line
        (work / name).write_text("\n".join(text) + "\n", encoding="utf-8")
        return work / name

    return write


@pytest.fixture
def semi(work: Path) -> Callable[..., Result]:
    """Runs the command line: `semi("describe", folder, sample, input="...")`."""

    def run(*arguments: object, input: str | bytes | None = None) -> Result:
        return CliRunner().invoke(app, [str(argument) for argument in arguments], input=input)

    return run


@pytest.fixture
def refused(work: Path, semi: Callable[..., Result]) -> Callable[..., str]:
    """Runs a command that must be refused: exit code, one message that names what is wrong, and nothing written."""

    def run(*arguments: object, says: tuple[str, ...] = (), code: int = 2) -> str:
        before = tree(work)
        result = semi(*arguments)
        assert result.exit_code == code, (result.exit_code, result.stdout, result.stderr, result.exception)
        assert result.stdout == ""
        assert result.stderr.startswith("error: ")
        assert result.stderr.count("error: ") == 1
        assert "Traceback" not in result.stderr
        for text in says:
            assert text in result.stderr, result.stderr
        assert tree(work) == before
        return result.stderr

    return run


def tree(folder: Path) -> dict[str, bytes | None]:
    """Every file and folder in it, byte for byte."""
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in sorted(folder.rglob("*"))}


@pytest.fixture(scope="session")
def toy_integration(foundation_folder: Path, tiny_text_site: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An integration of the toy sensor; copy it before you damage it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(tiny_text_site)
        foundation = Foundation.load(foundation_folder, device="cpu")
    folder = tmp_path_factory.mktemp("integration") / "toy"
    adapt(foundation, "vectors", toy_pairs(8), out=folder, steps=1, diagnose=False)
    return folder


@pytest.fixture
def logarithms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of an installed modality whose encoder gives NaN or infinity for some samples."""
    site = tmp_path / "logarithms"
    metadata = site / "semi_plugin_logarithms-1.0.dist-info"
    metadata.mkdir(parents=True)
    (site / "semi_plugin_logarithms.py").write_text(dedent(LOGARITHMS))
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: semi-plugin-logarithms\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[semi.modalities]\nlogarithms = semi_plugin_logarithms\n")
    monkeypatch.syspath_prepend(site)
    importlib.invalidate_caches()
    yield "logarithms"
    sys.modules.pop("semi_plugin_logarithms", None)
