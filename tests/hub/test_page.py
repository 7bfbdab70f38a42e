"""docs/share.md as a user would type it."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

import semi
from semi.adaptation import adapt
from semi.cli import app
from semi.foundation import Foundation
from semi.hypernetwork import build
from semi.pairs import Pair
from semi.tracking import open_tracker
from tests.hub.conftest import Pushes

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "share.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.M | re.S)
COMMANDS = [shlex.split(line) for kind, text in BLOCKS if not kind for line in text.splitlines()]
HUB, PEFT = (text for kind, text in BLOCKS if kind == "python")


def run(*words: str) -> str:
    done = CliRunner().invoke(app, list(words))
    assert done.exit_code == 0, (words, done.output)
    return done.stdout


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_pushing(hub: Pushes, repo: str, integration: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.move(integration, here / "my-integration")
    pushes = [words for words in COMMANDS if words[:2] == ["semi", "push"]]
    assert len(pushes) == 2
    for words in pushes:
        shown = run(*[repo if word.startswith("owner/") else word for word in words[1:]])
        assert shown.startswith("---" if "--card-only" in words else "https://huggingface.co/")
    names: dict[str, object] = {}
    exec(compile(HUB.replace("owner/my-integration", repo), "share.md", "exec"), names)
    assert isinstance(names["model"], semi.Integration)


def test_an_adapter_for_peft(tiny_foundation: Foundation, tiny_text: str, here: Path) -> None:
    pytest.importorskip("peft")
    (words,) = (words for words in COMMANDS if words[:2] == ["semi", "export"])
    plain = tiny_foundation
    attention = build("attention", {"rank": 3, "alpha": 3.0, "n_pairs": 8}, plain.projector)
    foundation = Foundation(plain.config, plain.language_model, plain.text_encoder, plain.projector, attention)
    foundation.save(here / "my-foundation")
    pairs = [Pair([float(i % 3)] * 16, ("red cat", "green dog")[i % 2]) for i in range(8)]
    adapt(foundation, "vectors", pairs, out=here / "my-adapter", steps=0, examples=0, diagnose=False)
    assert "LoRA for layers.0, layers.1" in run(*words[1:])
    names: dict[str, object] = {}
    exec(compile(PEFT, "share.md", "exec"), names)
    assert "lora_A" in str(names["model"])


def test_the_trackers_of_the_page_exist(here: Path) -> None:
    (words,) = (words for words in COMMANDS if words[:2] == ["semi", "train"])
    assert "--track" in run("train", words[2], "--help")
    pytest.importorskip("tensorboard")
    open_tracker(words[words.index("--track") + 1], "my-projector", {}).close()
    extras = (ROOT / "pyproject.toml").read_text("utf-8")
    for kind in re.findall(r"^\| `(\w+):", PAGE, re.M):
        assert f"\n{kind} = [" in extras
