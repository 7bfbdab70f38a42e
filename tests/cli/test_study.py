"""`semi study` as people meet it: tables, refusals, exit codes; and kill -9 in the middle."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from click.testing import Result

from semi.cli import app
from semi.pairs_io import write_pairs
from semi.study.data import load_target
from semi.study.measure import foundation_in_memory
from tests.study.conftest import toy_pairs

KILLS = int(os.environ.get("SEMI_KILLS", "3"))
Semi = Callable[..., Result]


@pytest.fixture
def config(tmp_path: Path, work: Path, foundation_folder: Path, tiny_text: str) -> Path:
    """A study of 8 cells in this process."""
    foundation_in_memory.cache_clear()
    load_target.cache_clear()
    write_pairs(tmp_path / "train.jsonl", toy_pairs(40, 0))
    write_pairs(tmp_path / "test.jsonl", toy_pairs(20, 1))
    files = {split: str(tmp_path / f"{split}.jsonl") for split in ("train", "test")}
    methods = [
        {"name": "ours", "settings": {"method": "semi", "steps": 3, "examples": 0}, "shots": [4, 8]},
        {"name": "scratch", "settings": {"method": "scratch", "steps": 3}, "shots": [4, 8]},
    ]
    content = {
        "foundations": [str(foundation_folder)],
        "targets": [{"name": "toy", "modality": "vectors", **files}],
        "methods": methods,
        "seeds": [0, 1],
        "baselines": ["scratch"],
        "match_shots": 8,
        "draws": 100,
        "processes": 0,
    }
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def change(config: Path, **changes: Any) -> Path:
    config.write_text(yaml.safe_dump(yaml.safe_load(config.read_text()) | changes))
    return config


def test_tables_and_json_tell_the_same(config: Path, work: Path, semi: Semi) -> None:
    shown = semi("study", "sample-efficiency", config, "--out", "out")
    assert shown.exit_code == 0, shown.stderr
    for part in ("ours - scratch", "shots to match", "p (Holm)", "report.html: 8 of 8 cells"):
        assert part in shown.stdout
    again = semi("study", "sample-efficiency", config, "--out", "out", "--json")
    assert again.stderr == ""
    summary = json.loads(again.stdout)
    assert (summary["measured"], len(summary["rows"])) == (8, 4)
    assert json.loads(semi("study", "report", "out", "--json").stdout) == summary
    names = {path.name for path in (work / "out").iterdir()}
    assert {"results.jsonl", "summary.json", "report.html", "study.json", "encoded"} <= names


def test_what_cannot_be_is_refused_before_any_work(
    config: Path, work: Path, refused: Callable[..., str], tiny_lm: Path
) -> None:
    efficiency = ("study", "sample-efficiency")
    refused(*efficiency, "no.yaml", "--out", "out", says=("no.yaml", "cannot be read"))
    refused(*efficiency, config, says=("--out",))
    refused(*efficiency, config, "--out", "out", "--processes", "-1", says=("--processes",))
    refused("study", "stress", config, "--out", "out", says=("conditions", "shots", "draws"))
    refused("study", "report", "out", says=("study.json does not exist",))
    refused(*efficiency, change(config, foundations=["nobody"]), "--out", "out", says=("unknown foundation 'nobody'",))
    (work / "mine").mkdir()
    (work / "mine" / "letter.txt").write_text("dear")
    change(config, foundations=[str(tiny_lm)])
    refused(*efficiency, config, "--out", "out", says=("manifest",))


def test_a_taken_folder_and_a_changed_meaning_are_refused(
    config: Path, work: Path, semi: Semi, refused: Callable[..., str]
) -> None:
    assert semi("study", "sample-efficiency", config, "--out", "out", "--quiet").exit_code == 0
    content = yaml.safe_load(config.read_text())
    content["methods"][0]["settings"]["steps"] = 2
    change(config, **content)
    refused("study", "sample-efficiency", config, "--out", "out", says=("settings, steps: 3 there, 2 now", "--force"))
    (work / "mine").mkdir()
    (work / "mine" / "letter.txt").write_text("dear")
    refused("study", "sample-efficiency", config, "--out", "mine", says=("mine is not empty and holds no study",))


def test_a_report_of_a_study_that_has_hardly_begun_or_is_damaged(
    config: Path, work: Path, semi: Semi, refused: Callable[..., str]
) -> None:
    described = {"kind": "sample-efficiency", "config": yaml.safe_load(config.read_text())}
    (work / "out").mkdir()
    study = work / "out" / "study.json"
    study.write_text(json.dumps(described | {"targets": {}, "versions": {}}))
    begun = semi("study", "report", "out")
    assert (begun.exit_code, begun.stderr) == (0, "")
    assert "0 of 8 cells" in begun.stdout
    study.write_text(json.dumps(described | {"config": {"colour": 1}, "targets": {}, "versions": {}}))
    refused("study", "report", "out", says=("study.json", "colour", "this version does not know"))
    study.write_text("{}")
    refused("study", "report", "out", says=("study.json does not describe a study",))
    study.write_text("{")
    refused("study", "report", "out", says=("study.json is not JSON",))


def test_cells_that_fail_end_it_with_1_and_their_names(config: Path, semi: Semi) -> None:
    content = yaml.safe_load(config.read_text())
    content["methods"][0]["settings"]["subsets"] = 4  # of four pairs: one each
    result = semi("study", "sample-efficiency", change(config, **content), "--out", "out", "--quiet")
    assert result.exit_code == 1
    assert "2 cells failed" in result.stderr
    assert "toy, ours, 4 shots, seed 0: the subsets are too small" in result.stderr
    assert "Traceback" not in result.stderr
    assert "6 of 8 cells" in result.stdout


def test_a_study_killed_at_any_moment_goes_on_and_ends_the_same(config: Path, tmp_path: Path) -> None:
    seconds = timed(config, tmp_path / "undisturbed")
    expected = measured(tmp_path / "undisturbed")
    assert len(expected) == 8
    draw = random.Random("study")
    out = tmp_path / "killed"
    for _ in range(KILLS):
        process = started(config, out)
        process.join(draw.uniform(0.02, 1) * seconds / 2)
        if process.is_alive():
            os.kill(process.pid or 0, signal.SIGKILL)
            process.join()
        with open(out / "results.jsonl", "ab") if out.exists() else open(os.devnull, "wb") as file:
            file.write(b'{"cell": {"target"')  # as if the kill had come while it wrote
    timed(config, out)
    assert measured(out) == expected


def test_processes_of_a_killed_study_end_with_it(config: Path, tmp_path: Path, tiny_text_site: Path) -> None:
    out = tmp_path / "out"
    path = os.pathsep.join([str(tiny_text_site), *sys.path])
    command = [sys.executable, "-m", "semi.cli", "study", "sample-efficiency", str(change(config, seeds=[*range(99)]))]
    environment = os.environ | {"PYTHONPATH": path}
    running = subprocess.Popen([*command, "--out", str(out), "--processes", "1", "--quiet"], env=environment)
    try:
        wait(lambda: (out / "results.jsonl").exists() or running.poll() is not None)
        children = Path(f"/proc/{running.pid}/task/{running.pid}/children")
        if not children.exists():
            pytest.skip("this system does not tell the children of a process")
        pids = children.read_text().split()
    finally:
        running.kill()
        running.wait()
    assert pids
    wait(lambda: not any(alive(pid) for pid in pids))
    found = measured(out)
    assert 0 < len(found) < 4 * 99
    change(config, seeds=[0, 1])
    timed(config, out)
    assert {key: found[key] for key in found} == {key: measured(out)[key] for key in found}


def alive(pid: str) -> bool:
    status = Path(f"/proc/{pid}/stat")
    try:
        return status.read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait(until: Callable[[], bool], seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < end
        time.sleep(0.05)


def started(config: Path, out: Path) -> multiprocessing.process.BaseProcess:
    process = multiprocessing.get_context("fork").Process(target=run, args=(config, out))
    process.start()
    return process


def run(config: Path, out: Path) -> None:
    torch.set_num_threads(1)
    with open(os.devnull, "w") as null:
        os.dup2(null.fileno(), 1)
    try:
        app(["study", "sample-efficiency", str(config), "--out", str(out), "--quiet"], standalone_mode=False)
    except SystemExit as error:
        os._exit(int(error.code or 0))
    except BaseException as error:
        os._exit(getattr(error, "exit_code", 1))


def timed(config: Path, out: Path) -> float:
    begun = time.perf_counter()
    process = started(config, out)
    process.join()
    assert process.exitcode == 0
    return time.perf_counter() - begun


def measured(out: Path) -> dict[str, dict[str, Any]]:
    """The lines by cell, without what a clock said."""
    lines = [json.loads(text) for text in (out / "results.jsonl").read_text().splitlines()]
    clock = {"seconds", "seconds_scoring", "threads"}
    return {json.dumps(line["cell"]): {k: v for k, v in line.items() if k not in clock} for line in lines}
