"""kill -9 at random moments: the rerun resumes, and the result equals an undisturbed run byte for byte.

SEMI_KILLS=20 pytest tests/cli/test_kill.py   kills each command 20 times (the default is 3, for CI).
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from semi.artifacts import load_tensors, read_manifest
from semi.cli import app
from semi.encoding import encode
from semi.errors import SemiError
from semi.pairs import Pair
from semi.pairs_io import write_pairs
from semi.training.run import run_projector
from semi.vectors import Vectors

KILLS = int(os.environ.get("SEMI_KILLS", "3"))
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


@dataclass(frozen=True)
class Command:
    """Arguments without --out, and the kind of folder the command leaves."""

    arguments: list[str]
    kind: str


@pytest.fixture(scope="module")
def pairs_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    draw = np.random.default_rng(0)
    words = ["red cat", "green dog", "blue car", "small tree", "large house", "two of many"]
    path = tmp_path_factory.mktemp("pairs") / "pairs.jsonl"
    write_pairs(path, [Pair(draw.standard_normal(24).round(3).tolist(), words[i % 6]) for i in range(900)])
    return path


@pytest.fixture
def from_pairs(pairs_file: Path, foundation_folder: Path, tiny_text: str) -> dict[str, Command]:
    """The commands that start from a pairs file."""
    pairs = ["--pairs", str(pairs_file)]
    adapt = ["adapt", "vectors", *pairs, "--shots", "24", "--foundation", str(foundation_folder)]
    return {
        "encode": Command(["encode", "vectors", str(pairs_file)], "embeddings"),
        "adapt": Command(adapt, "integration"),
    }


@pytest.fixture
def commands(
    tmp_path: Path, pairs_file: Path, tiny_lm: Path, tiny_text: str, from_pairs: dict[str, Command]
) -> dict[str, Command]:
    schedule = {"steps": 120, "lr": 1e-3, "warmup": 5, "validate_every": 30, "save_every": 10}
    encoded = tmp_path / "encoded"
    with np.errstate(all="raise"):
        rows = [json.loads(line) for line in pairs_file.read_text().splitlines()[:200]]
    vectors = Vectors()
    encode(vectors, vectors.encoder(), [Pair(vectors.parse(r["sample"]), r["caption"]) for r in rows], encoded)
    sources = [{"encoded": str(encoded), "weight": 1}, {"procedural": 12, "samples": 24, "weight": 1}]
    shared = {"sources": sources, "batch": 8, "queries": 4, "shots": [4, 8], "schedule": schedule}
    first = {"language_model": str(tiny_lm), "precision": "fp32", "text_encoder": tiny_text, "warm_start": 20}
    (tmp_path / "projector.yaml").write_text(
        yaml.safe_dump(shared | first | {"projector": {"d_hidden": 24, "soft_tokens": 2}})
    )
    trained = tmp_path / "trained"
    run_projector(tmp_path / "projector.yaml", trained)
    (tmp_path / "hypernetwork.yaml").write_text(yaml.safe_dump(shared | {"projector": str(trained)}))
    return from_pairs | {
        "projector": Command(["train", "projector", str(tmp_path / "projector.yaml")], "projector"),
        "hypernetwork": Command(["train", "hypernetwork", str(tmp_path / "hypernetwork.yaml")], "foundation"),
    }


@pytest.mark.parametrize("name", ["encode", "projector", "hypernetwork", "adapt"])
def test_a_killed_command_resumes_to_the_same_bytes(name: str, commands: dict[str, Command], tmp_path: Path) -> None:
    command = commands[name]
    undisturbed = tmp_path / "undisturbed"
    seconds = timed(command, undisturbed)
    expected = contents(undisturbed, command.kind)
    out = tmp_path / "killed"
    draw = random.Random(name)
    killed = finished = 0
    while killed < KILLS:
        process = started(command, out)
        process.join(draw.uniform(0.02, 1) * seconds / 2)
        if process.is_alive():
            os.kill(process.pid or 0, signal.SIGKILL)
            process.join()
            killed += 1
            if not complete(out, command.kind):
                with pytest.raises(SemiError):
                    read_manifest(out, command.kind)
                continue
        finished += 1
        assert contents(out, command.kind) == expected
        out = tmp_path / f"killed-{finished}"
    if not complete(out, command.kind):
        timed(command, out)
    assert contents(out, command.kind) == expected


@pytest.mark.parametrize(("name", "other"), [("encode", ["--limit", "300"]), ("adapt", ["--seed", "1"])])
def test_a_killed_forced_command_keeps_the_old_result_until_the_new_is_complete(
    name: str, other: list[str], from_pairs: dict[str, Command], tmp_path: Path
) -> None:
    new = from_pairs[name]
    old = Command([*new.arguments, *other], new.kind)
    out, undisturbed = tmp_path / "out", tmp_path / "undisturbed"
    seconds = timed(new, undisturbed)
    timed(old, out)
    before, after = described(out, old.kind), described(undisturbed, new.kind)
    draw = random.Random(name)
    for _ in range(KILLS):
        process = started(forced(new, out), out)
        process.join(draw.uniform(0.1, 1) * seconds / 2)
        if process.is_alive():
            os.kill(process.pid or 0, signal.SIGKILL)
            process.join()
        if complete(out, new.kind):  # but for the moment in which the one takes the place of the other
            assert described(out, new.kind) in (before, after)
    if not complete(out, new.kind) or described(out, new.kind) == before:
        timed(forced(new, out), out)
    assert contents(out, new.kind) == contents(undisturbed, new.kind)


def forced(command: Command, out: Path) -> Command:
    """With --force, but where a forced run can be resumed."""
    resumes = (out / "run.new" / "run.json").exists()
    return command if resumes else Command([*command.arguments, "--force"], command.kind)


def described(folder: Path, kind: str) -> object:
    """The files of a complete folder, by hash."""
    return read_manifest(folder, kind)["files"]


def started(command: Command, out: Path) -> multiprocessing.process.BaseProcess:
    process = multiprocessing.get_context("fork").Process(target=run, args=(command, out))
    process.start()
    return process


def run(command: Command, out: Path) -> None:
    torch.set_num_threads(1)
    with open(os.devnull, "w") as null:
        os.dup2(null.fileno(), 1)
    try:
        app([*command.arguments, "--out", str(out), "--quiet"], standalone_mode=False)
    except SystemExit as error:
        os._exit(int(error.code or 0))
    except BaseException as error:
        os._exit(getattr(error, "exit_code", 1))


def timed(command: Command, out: Path) -> float:
    begun = time.perf_counter()
    process = started(command, out)
    process.join()
    assert process.exitcode == 0
    return time.perf_counter() - begun


def complete(folder: Path, kind: str) -> bool:
    try:
        read_manifest(folder, kind)
    except SemiError:
        return False
    return True


def contents(folder: Path, kind: str) -> dict[str, bytes]:
    """Every file of a complete folder but the curve's picture, whose bytes depend on matplotlib alone."""
    read_manifest(folder, kind)
    for path in folder.glob("*.safetensors"):
        load_tensors(path)
    left = {"checkpoint.safetensors", "run.json", ".lock"}
    return {
        str(p.relative_to(folder)): p.read_bytes()
        for p in sorted(folder.rglob("*"))
        if p.is_file() and p.name not in left and p.suffix != ".png"
    }
