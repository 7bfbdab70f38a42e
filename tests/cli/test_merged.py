"""`semi adapt` over a merge, and what it made used where the merge, or its base, has moved."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from tests.merge.llamas import Merged, merge_llamas

Semi = Callable[..., Result]
SAMPLE = json.dumps([0.5] * 10)
ADAPT = ("adapt", "vectors", "--out", "out", "--steps", "1", "--examples", "0", "--no-diagnose", "--quiet")


@pytest.fixture(scope="module")
def merged(tmp_path_factory: pytest.TempPathFactory, write_lm: Callable[..., Path]) -> Merged:
    return merge_llamas(tmp_path_factory.mktemp("merge"), write_lm)


def test_a_modality_of_a_merge_is_adapted_described_and_scored(
    semi: Semi, merged: Merged, foundation_folder: Path, tiny_text: str, pairs_file: Callable[..., Path], work: Path
) -> None:
    shutil.copytree(merged.folder, "here.mmer")
    file = pairs_file()
    over = ("--foundation", foundation_folder, "--language-model", "here.mmer#lora")
    made = semi(*ADAPT, "--pairs", file, *over)
    assert made.exit_code == 0, made.stderr
    assert json.loads(Path("out/integration.json").read_text())["language_model"]["id"] == f"{work}/here.mmer#lora"
    said = semi("describe", "out", SAMPLE)
    assert said.exit_code == 0, said.stderr
    Path("here.mmer").rename("there.mmer")
    gone = semi("describe", "out", SAMPLE)
    assert gone.exit_code == 2
    assert "--language-model NEW#lora" in gone.stderr
    shutil.copytree(merged.base, "base")
    moved = ("--language-model", "there.mmer#lora", "--base", "base")
    again = semi("describe", "out", SAMPLE, *moved)
    assert (again.exit_code, again.stdout) == (0, said.stdout)
    scores = semi("eval", "out", "--pairs", file, "--json", *moved)
    assert scores.exit_code == 0, scores.stderr
    assert json.loads(scores.stdout)["n"] == 12
    talk = semi("chat", "out", SAMPLE, "--max-new-tokens", "3", *moved, input="What is it?\n/quit\n")
    assert talk.exit_code == 0, talk.stderr


def test_what_the_merge_has_not_is_refused(
    refused: Callable[..., str],
    merged: Merged,
    foundation_folder: Path,
    tiny_text: str,
    pairs_file: Callable[..., Path],
) -> None:
    how = (*ADAPT, "--pairs", pairs_file(), "--foundation", foundation_folder, "--language-model")
    refused(*how, f"{merged.folder}#smell", says=("no model of that name", "text, vision, lora"))
    refused(*how, f"{merged.folder}#text=loud", says=("no policy for text", "merged"))
    refused(*how, f"{merged.folder}#text", "--base", "nowhere", says=("is not there",))
    refused(*how, str(merged.base), "--precision", "fp32", "--base", str(merged.base), says=("is no merge",))
