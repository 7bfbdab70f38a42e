"""The benchmarks of `semi merge` at a tiny size: they run, and tell what differs."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import merge_kill, merge_memory, merge_race
from benchmarks.llamas import Llama, drawn, tuned, write_model
from semi.artifacts import read_json
from semi.merge.artifact import Artifact
from semi.merge.checkpoint import Checkpoint
from semi.merge.config import MergeConfig
from semi.merge.export import export
from semi.merge.journal import Journal
from semi.merge.run import JOURNAL, run_merge
from tests.merge.conftest import write_checkpoint

TINY = Llama(hidden=16, inner=24, layers=1, heads=4, kv=8, vocabulary=33, tied=True)


@pytest.fixture
def models(tmp_path: Path) -> dict[str, Path]:
    paths = {"base": write_model(tmp_path / "base", TINY, drawn(seed=0))}
    with Checkpoint.open(paths["base"]) as base:
        return paths | {name: write_model(tmp_path / name, TINY, tuned(base, i)) for i, name in enumerate(("m0", "m1"))}


@pytest.fixture
def settings(models: dict[str, Path], tmp_path: Path) -> Path:
    return merge_race.write_settings(tmp_path / "merge.yaml", models, merge_race.RACERS["ties"])


def test_entries_that_differ_are_counted(models: dict[str, Path], settings: Path, tmp_path: Path) -> None:
    run_merge(MergeConfig.model_validate(json.loads(settings.read_text())), tmp_path / "m.mmer")
    with Artifact.open(tmp_path / "m.mmer") as artifact:
        ours = export(artifact, "m0", tmp_path / "ours").folder
    theirs = shutil.copytree(ours, tmp_path / "theirs")
    same = merge_race.agreement(models, theirs, ours)
    assert same == {"entries": sum(a * b for a, b in matrices()), "not_equal": 0, "different": 0, "unexplained": 0}
    with Checkpoint.open(ours) as opened:
        tensors = {key: opened.read(key).view(opened.info(key).shape) for key in opened.keys}
    tensors["model.embed_tokens.weight"][3, 4] += 1
    tensors["model.norm.weight"] += 1  # kept as each model has it: not compared
    shutil.rmtree(theirs)
    found = merge_race.agreement(models, write_checkpoint(theirs, tensors), ours)
    assert (found["not_equal"], found["different"], found["unexplained"]) == (1, 1, 1)


def matrices() -> list[tuple[int, int]]:
    return [(shape[0], shape[1]) for shape in TINY.shapes().values() if len(shape) == 2]


def test_a_killed_run_tells_how_far_it_came(settings: Path, tmp_path: Path) -> None:
    out, seen = tmp_path / "m.mmer", []
    assert merge_kill.stage(out) == "nothing"

    def advance(done: int, total: int, what: str) -> None:
        seen.append(merge_kill.stage(out))

    run_merge(MergeConfig.model_validate(json.loads(settings.read_text())), out, advance=advance)
    assert list(dict.fromkeys(seen)) == ["begun", "hashes", "statistics", "8 tensors", "files written"]
    assert merge_kill.stage(out) == "complete"
    assert merge_kill.hashes(out) == {
        str(path.relative_to(out)): merge_kill.sha256_of(path) for path in out.rglob("*") if path.is_file()
    }


def test_a_line_of_the_journal_that_was_cut_short_does_not_count(tmp_path: Path) -> None:
    with Journal(tmp_path / JOURNAL) as journal:
        journal.add({"hashes": {}})
    with open(tmp_path / JOURNAL, "a") as file:
        file.write('{"statistics": {')
    assert merge_kill.stage(tmp_path) == "hashes"


def test_memory_is_measured_and_what_was_written_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "memory.json"
    arguments = ["--layers", "1", "--scale", "64", "--folder", str(tmp_path / "work"), "--out", str(out)]
    monkeypatch.setattr(sys, "argv", ["merge_memory", *arguments])
    assert merge_memory.main() == 0
    rows = read_json(out)["rows"]
    assert [row["layers"] for row in rows] == [1]
    assert all(0 < row["anonymous_mb"] <= row["planned_mb"] for row in rows)
    assert not (tmp_path / "work").exists()
    assert torch.tensor([list(row["residuals"].values()) for row in rows]).max() < 1
