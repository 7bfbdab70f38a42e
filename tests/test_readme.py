"""Every command and program of README.md that `make` does not run itself, as a newcomer would type it."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from semi.assets.catalog import CORE
from semi.pairs import Pair
from semi.pairs_io import write_pairs
from semi.plugins import list_plugins, load_dataset, load_modality

README = Path(__file__).parents[1] / "README.md"
NEEDED = {"molecules", "text", "smollm2-135m"}


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README.read_text("utf-8"), re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A newcomer's folder with pairs.jsonl and held-out.jsonl."""
    if not {p.name for p in list_plugins()} >= NEEDED:
        pytest.skip("needs the plugins molecules, text and smollm2")
    assets = [CORE["smollm2-135m"], *load_modality("text").assets, *load_dataset("molecules").assets]
    if not all(asset.present() for asset in assets):
        pytest.skip("needs `semi fetch smollm2-135m text molecules`")
    folder = tmp_path_factory.mktemp("newcomer")
    for split, name, n in (("train", "pairs.jsonl", 40), ("test", "held-out.jsonl", 8)):
        pairs = load_dataset("molecules").pairs(split)[:n]
        write_pairs(folder / name, [Pair(p.sample, p.caption) for p in pairs])
    return folder


@pytest.mark.assets
@pytest.mark.timeout(1800)  # every command of the README, for real: four minutes on two idle cores
def test_commands_run(folder: Path) -> None:
    commands = [line for block in blocks("") for line in block.splitlines() if line.startswith("semi ")]
    assert len(commands) >= 5
    for command in commands:
        words = shlex.split(command)
        done = subprocess.run(
            [sys.executable, "-m", "semi.cli", *words[1:]],
            cwd=folder,
            input="What is it?\n/quit\n" if words[1] == "chat" else "",
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"{command}\n{done.stderr}"
        assert done.stdout.strip(), command
        if "--json" in words:
            json.loads(done.stdout)


@pytest.mark.assets
def test_program_runs(folder: Path) -> None:
    (program,) = blocks("python")
    program = program.replace('"my-molecules"', '"from-python"')
    done = subprocess.run([sys.executable, "-c", program], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
