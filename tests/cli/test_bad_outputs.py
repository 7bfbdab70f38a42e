"""Outputs that are taken, interrupted or not of semi, and full disks: nothing is lost or accepted half-written."""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
import torch
import yaml

from semi.adaptation import adapt
from semi.artifacts import read_manifest
from semi.cli import app
from semi.errors import InputError, SemiError
from semi.foundation import Foundation
from semi.pairs_io import draw_shots, read_pairs
from semi.settings import Settings
from semi.vectors import Vectors

Refused = Callable[..., str]
GOOD = json.dumps([0.5] * 10)


@pytest.fixture
def adapting(
    foundation_folder: Path, tiny_text: str, pairs_file: Callable[..., Path], work: Path
) -> Callable[..., list[object]]:
    """The arguments of a quick adaptation of eight pairs into `out`."""

    def arguments(*more: object, steps: int = 12) -> list[object]:
        file = work / "pairs.jsonl"
        start = ["adapt", "vectors", "--pairs", file if file.exists() else pairs_file()]
        return [*start, "--foundation", foundation_folder, "--out", "out", "--steps", steps, "--no-diagnose", *more]

    return arguments


def interrupt(foundation_folder: Path, work: Path, *, at: int, out: str = "out") -> None:
    """What Ctrl-C at a step of `adapting()` leaves in its output folder."""
    read = read_pairs(work / "pairs.jsonl", modality=Vectors()).pairs

    def stop(step: int, note: str) -> None:
        if step == at:
            raise KeyboardInterrupt

    settings = Settings(steps=12, diagnose=False)
    with pytest.raises(KeyboardInterrupt):
        adapt(
            Foundation.load(foundation_folder), "vectors", draw_shots(read, len(read), 0), settings=settings,
            out=out, advance=stop,
        )  # fmt: skip


def test_a_complete_output_is_kept_unless_forced(
    adapting: Callable, work: Path, semi: Callable, refused: Refused
) -> None:
    assert semi(*adapting()).exit_code == 0
    first = (work / "out" / "integration.safetensors").read_bytes()
    refused(*adapting(), says=("out is complete already", "--force"))
    refused(*adapting(steps=13), says=("out is complete already",))
    refused("encode", "vectors", "pairs.jsonl", "--out", "out", says=("out is complete already",))
    for bad in (["--shots", 99], ["--encoder", "magic"], ["--steps", -1], ["--precision", "int3"]):
        refused(*adapting("--force", *bad))  # refused before anything is emptied
    (work / "same.jsonl").write_text(f'{{"sample": {GOOD}, "caption": "red cat"}}\n' * 6)
    refused(*adapting("--force", "--pairs", "same.jsonl"), says=("all the same",))
    assert semi(*adapting("--force", "--seed", 1)).exit_code == 0
    assert (work / "out" / "integration.safetensors").read_bytes() != first


def test_an_interrupted_output_resumes_only_with_the_same_settings(
    adapting: Callable, foundation_folder: Path, work: Path, semi: Callable, refused: Refused
) -> None:
    assert semi(*adapting()).exit_code == 0
    undisturbed = {path.name: path.read_bytes() for path in (work / "out").iterdir()}
    shutil.rmtree(work / "out")
    interrupt(foundation_folder, work, at=11)
    refused("describe", "out", GOOD, says=("out is incomplete", "it resumes"))
    refused(*adapting(steps=13), says=("interrupted run with other inputs or settings", "12", "13"))
    refused(*adapting("--seed", 1), says=("interrupted run with other inputs or settings", "seed"))
    refused("encode", "vectors", "pairs.jsonl", "--out", "out", says=("interrupted run with other", "integration"))
    whole = (work / "out" / "checkpoint.safetensors").read_bytes()
    (work / "out" / "checkpoint.safetensors").write_bytes(whole[:-40])
    refused(*adapting(), says=("checkpoint.safetensors is not a whole safetensors file",))
    (work / "out" / "checkpoint.safetensors").write_bytes(whole)
    assert semi(*adapting()).exit_code == 0
    assert {path.name: path.read_bytes() for path in (work / "out").iterdir()} == undisturbed
    interrupt(foundation_folder, work, at=11, out="other")
    assert semi(*adapting("--out", "other", "--force", steps=13)).exit_code == 0


def test_a_taken_output_is_refused_before_the_language_model_is_loaded(
    adapting: Callable, foundation_folder: Path, work: Path, semi: Callable, refused: Refused,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    assert semi(*adapting()).exit_code == 0
    interrupt(foundation_folder, work, at=11, out="half")
    (work / "mine").mkdir()
    (work / "mine" / "thesis.txt").write_text("years of work")

    def load(*_: object, **__: object) -> Foundation:
        raise AssertionError("the foundation was loaded")

    monkeypatch.setattr(Foundation, "load", load)
    refused(*adapting(), says=("out is complete already",))
    refused(*adapting("--out", "mine", "--force"), says=("mine is not empty and was not made by semi",))
    refused(*adapting("--out", "pairs.jsonl", "--force"), says=("pairs.jsonl is not a folder",))
    refused(*adapting("--out", "half", steps=13), says=("interrupted run with other", "'steps': 12", "'steps': 13"))
    refused(*adapting("--out", "half", "--seed", 1), says=("interrupted run with other inputs or settings", "seed"))


LOADED = """
import sys
from semi.cli import app
try:
    app(sys.argv[1:])
finally:
    print("LOADED", *sorted({"torch", "transformers"} & set(sys.modules)), file=sys.stderr)
"""


@pytest.mark.parametrize("verb", ["adapt vectors --pairs p.jsonl", "encode vectors p.jsonl", "train projector c.yaml"])
def test_a_complete_output_is_refused_before_anything_heavy_is_imported(
    verb: str, toy_integration: Path, work: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOADED, *verb.split(), "--out", str(toy_integration)],
        cwd=work, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2
    assert "is complete already" in done.stderr
    assert done.stderr.endswith("LOADED\n")


@pytest.mark.parametrize("verb", ["adapt", "encode"])
def test_a_forced_run_keeps_the_old_result_where_an_embedding_is_not_finite(
    verb: str, logarithms: str, foundation_folder: Path, tiny_text: str, work: Path, semi: Callable, refused: Refused
) -> None:
    for name, numbers in (("good", [1.0, 2.0, 3.0]), ("bad", [*[1.0] * 40, -2.0])):
        (work / f"{name}.jsonl").write_text("".join(f'{{"sample": {n}, "caption": "a {n}"}}\n' for n in numbers))

    def arguments(file: str) -> list[object]:
        if verb == "encode":
            return ["encode", logarithms, file, "--out", "out"]
        start = ["adapt", logarithms, "--pairs", file, "--foundation", foundation_folder]
        return [*start, "--steps", 1, "--no-diagnose", "--out", "out"]

    assert semi(*arguments("good.jsonl")).exit_code == 0
    refused(*arguments("bad.jsonl"), "--force", says=("holds NaN or infinity", "sample -2.0"))


def test_a_forced_training_keeps_the_old_result_where_it_fails(
    tiny_lm: Path, tiny_text: str, work: Path, semi: Callable, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = {"sources": [{"procedural": 4, "samples": 16, "weight": 1}], "schedule": {"steps": 1, "lr": 1e-3}}
    config |= {"language_model": str(tiny_lm), "precision": "fp32", "text_encoder": "tiny-text", "warm_start": 0}
    (work / "c.yaml").write_text(yaml.safe_dump(config | {"batch": 4, "projector": {"d_hidden": 8}}))
    assert semi("train", "projector", "c.yaml", "--out", "out").exit_code == 0

    def train(*_: object, **__: object) -> None:
        raise InputError("this input is bad, which is found late")

    monkeypatch.setattr("semi.training.run.train_projector", train)
    refused("train", "projector", "c.yaml", "--out", "out", "--force", says=("found late",))


def test_the_report_of_the_demo_must_have_a_folder(work: Path, refused: Refused) -> None:
    refused("demo", "--report", "gone/report.html", says=("gone/report.html cannot be written", "gone is not a folder"))
    refused("demo", "--report", ".", says=("a folder", "--report"))


@pytest.mark.parametrize("verb", ["adapt", "encode", "convert", "projector"])
def test_an_output_that_semi_did_not_make_is_never_touched(
    verb: str, adapting: Callable, tiny_lm: Path, work: Path, refused: Refused
) -> None:
    config = {"sources": [{"procedural": 4, "weight": 1}], "schedule": {"steps": 2, "lr": 1e-3}}
    config |= {"language_model": str(tiny_lm), "precision": "fp32", "text_encoder": "tiny-text"}
    (work / "c.yaml").write_text(yaml.safe_dump(config))
    torch.save({}, work / "empty.pt")
    arguments = {
        "adapt": adapting(),
        "encode": ["encode", "vectors", "pairs.jsonl"],
        "convert": ["convert", "empty.pt"],
        "projector": ["train", "projector", "c.yaml"],
    }[verb]
    (work / "mine").mkdir()
    (work / "mine" / "thesis.txt").write_text("years of work")
    if verb == "convert":  # it reads the checkpoint first
        refused(*arguments, "--out", "mine", "--force", says=("empty.pt",))
        return
    refused(*arguments, "--out", "mine", says=("mine is not empty and was not made by semi",))
    refused(*arguments, "--out", "mine", "--force", says=("mine is not empty and was not made by semi",))
    refused(*arguments, "--out", "c.yaml", says=("c.yaml is not a folder",))
    refused(*arguments, "--out", "c.yaml/out", says=("c.yaml",))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and file-size limits")
@pytest.mark.parametrize("verb", ["adapt", "encode"])
@pytest.mark.parametrize("limit", [100, 1500, 6000])
def test_a_full_disk_is_said_and_leaves_nothing_that_is_accepted(
    verb: str, limit: int, adapting: Callable, pairs_file: Callable[..., Path], work: Path, semi: Callable
) -> None:
    """A limit on the size of files looks to a program like a disk that is full."""
    arguments = adapting() if verb == "adapt" else ["encode", "vectors", pairs_file(400), "--out", "out"]
    code, message = run_with_small_files(arguments, limit)
    assert code in (1, 2)
    assert message.startswith("error: ")
    assert message.count("error: ") == 1
    assert "the disk is full" in message
    assert "Traceback" not in message
    with pytest.raises(SemiError):
        read_manifest(work / "out", "integration" if verb == "adapt" else "embeddings")
    assert not list(work.rglob("*.part"))
    assert semi(*arguments).exit_code == 0  # there is room again


def run_with_small_files(arguments: list[object], limit: int) -> tuple[int | None, str]:
    """Exit code and stderr of a command that cannot write more than `limit` bytes to any file."""
    reader, writer = multiprocessing.get_context("fork").Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=_with_small_files, args=(arguments, limit, writer))
    process.start()
    writer.close()
    message = reader.recv()
    process.join()
    return process.exitcode, message


def _with_small_files(arguments: list[object], limit: int, writer: Connection) -> None:
    from typer.testing import CliRunner

    torch.set_num_threads(1)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    writer.send(result.stderr)
    os._exit(result.exit_code)
