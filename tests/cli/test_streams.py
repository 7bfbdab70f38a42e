"""What goes to stdout and to stderr: JSON that parses, conversations through pipes, and no word of other libraries."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from semi.cli import _common

GOOD = json.dumps([0.5] * 10)
FAR = json.dumps([99.0] * 10)
SEVERAL = """
import json, sys
from semi.cli import app
for arguments in json.loads(sys.argv[1]):
    app(arguments, standalone_mode=False)
"""


def test_no_verb_lets_other_libraries_write_to_stderr(
    foundation_folder: Path, tiny_lm: Path, tiny_text_site: Path, pairs_file: Callable[..., Path], work: Path
) -> None:
    """In a fresh process: transformers reads how loud it may be when it is imported."""
    shared = {"sources": [{"procedural": 4, "samples": 16, "weight": 1}], "batch": 4, "shots": [2, 4]}
    shared |= {"schedule": {"steps": 1, "lr": 1e-3}}
    model = {"language_model": str(tiny_lm), "precision": "fp32", "text_encoder": "tiny-text", "warm_start": 0}
    (work / "p.yaml").write_text(yaml.safe_dump(shared | model | {"projector": {"d_hidden": 8}}))
    (work / "h.yaml").write_text(yaml.safe_dump(shared | {"projector": "projector"}))
    file = str(pairs_file())
    commands = [
        [
            "adapt",
            "vectors",
            "--pairs",
            file,
            "--foundation",
            str(foundation_folder),
            "--steps",
            "1",
            "--out",
            "one",
            "--quiet",
        ],
        ["describe", "one", GOOD, "--max-new-tokens", "4"],
        ["eval", "one", "--pairs", file, "--limit", "2"],
        ["chat", "one", GOOD, "--max-new-tokens", "4"],
        ["encode", "vectors", file, "--out", "encoded", "--quiet"],
        ["train", "projector", "p.yaml", "--out", "projector", "--quiet"],
        ["train", "hypernetwork", "h.yaml", "--out", "foundation", "--quiet"],
    ]
    done = subprocess.run(
        [sys.executable, "-c", SEVERAL, json.dumps(commands)],
        cwd=work,
        input="What is it?\n",
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(tiny_text_site)},
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert (work / "foundation" / "manifest.json").exists()


@pytest.mark.parametrize(
    ("steps", "loss"), [(3, r"\d\.\d\d -> \d\.\d\d nats a token in 3 steps"), (0, r"\d\.\d\d nats a token, ")]
)
def test_adapt_ends_with_the_loss_and_the_next_command(
    steps: int, loss: str, foundation_folder: Path, tiny_text: str, pairs_file: Callable[..., Path], semi: Callable
) -> None:
    arguments = ["--foundation", foundation_folder, "--steps", steps, "--no-diagnose", "--out", "my toys"]
    result = semi("adapt", "vectors", "--pairs", pairs_file(), *arguments)
    assert (result.exit_code, result.stderr) == (0, "")
    first, second, third, fourth = result.stdout.splitlines()
    assert first == "my toys: vectors from 12 pairs, method semi, seed 0"
    assert re.match(f"caption loss on the pairs: {loss}", second)
    assert re.fullmatch(r"recalled in what is written: the captions of the pairs, with weight 0\.\d+", third)
    assert fourth == "next: semi describe 'my toys' SAMPLE"
    assert semi("describe", "my toys", GOOD, "--max-new-tokens", 2).exit_code == 0


def test_training_tells_how_far_it_is_in_a_log(
    foundation_folder: Path,
    tiny_text: str,
    pairs_file: Callable[..., Path],
    semi: Callable,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_common, "SECONDS_BETWEEN_LINES", 0)
    arguments = ["--foundation", foundation_folder, "--steps", 3, "--no-diagnose", "--out", "out"]
    lines = semi("adapt", "vectors", "--pairs", pairs_file(), *arguments).stderr.splitlines()
    assert [re.sub(r"loss \d+\.\d+", "loss", line) for line in lines] == [
        "Adapting: choosing what to show, 0 of 3",
        "Adapting: weighing what to recall, 0 of 3",
        *(f"Adapting: learning, loss, {step} of 3" for step in (1, 2, 3)),
    ]
    result = semi("encode", "vectors", pairs_file(40), "--out", "encoded")
    assert result.stderr.splitlines() == [
        "Encoding with vectors/identity@1, 32 of 40",
        "Encoding with vectors/identity@1, 40 of 40",
    ]


SCORES_OF_TEXT = ("rouge_l", "bleu_4", "meteor", "cider_d", "attribute_accuracy")


def test_eval_json_has_the_promised_keys(
    toy_integration: Path, tiny_text: str, pairs_file: Callable[..., Path], semi: Callable
) -> None:
    result = semi("eval", toy_integration, "--pairs", pairs_file(6, lines={2: "{"}), "--json", "--skip-bad")
    assert (result.exit_code, result.stderr) == (0, "")
    scores = json.loads(result.stdout)
    assert set(scores) == {"n", "loss", "loss_shuffled", *SCORES_OF_TEXT, "skipped"}
    assert (scores["n"], scores["skipped"]) == (5, 1)
    assert scores["loss"] > 0
    assert 0 <= scores["rouge_l"] <= 1
    quick = semi("eval", toy_integration, "--pairs", pairs_file(6), "--json", "--no-generate", "--limit", 3)
    assert json.loads(quick.stdout) | {"loss": 0, "loss_shuffled": 0} == {
        "n": 3, "loss": 0, "loss_shuffled": 0, **dict.fromkeys(SCORES_OF_TEXT), "skipped": 0,
    }  # fmt: skip


def test_describe_json_has_the_promised_keys(toy_integration: Path, tiny_text: str, semi: Callable) -> None:
    ask = ["--ask", "Is it red?", "--max-new-tokens", 4, "--json"]
    result = semi("describe", toy_integration, GOOD, FAR, *ask)
    assert (result.exit_code, result.stderr) == (0, "")
    first, second = json.loads(result.stdout)
    assert {"sample", "text", "nearest", "unlike_anything_seen"} == set(first)
    assert (first["sample"], second["sample"]) == (GOOD, FAR)
    assert isinstance(first["text"], str)
    distances = [row["distance"] for row in first["nearest"]]
    assert distances == sorted(distances)
    assert len(distances) == 3
    assert all(isinstance(row["label"], str) for row in first["nearest"])
    assert second["unlike_anything_seen"] is True


def test_a_sample_of_the_support_is_its_own_nearest(
    toy_integration: Path, tiny_text: str, pairs_file: Callable[..., Path], semi: Callable
) -> None:
    pair = json.loads(pairs_file(8).read_text().splitlines()[0])
    (reading,) = json.loads(semi("describe", toy_integration, json.dumps(pair["sample"]), "--json").stdout)
    assert reading["nearest"][0] == {"label": pair["caption"], "distance": 0.0}
    assert reading["unlike_anything_seen"] is False


def test_a_conversation_through_a_pipe(toy_integration: Path, tiny_text: str, semi: Callable) -> None:
    chat = ["chat", toy_integration, GOOD, "--max-new-tokens", 4]
    alone = semi(*chat, input="What is it?\n")
    assert (alone.exit_code, alone.stderr) == (0, "")
    assert alone.stdout.endswith("\n")
    assert not alone.stdout.startswith(("you", " "))
    # A new conversation about the same sample gives the same answer; what follows /quit is not read.
    again = semi(
        "chat", toy_integration, "--max-new-tokens", 4, input=f"/new\n\n/sample {GOOD}\nWhat is it?\n/quit\nx\n"
    )
    assert (again.exit_code, again.stdout, again.stderr) == (0, alone.stdout, "")


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ("/sample [1, 2]", "another width"),
        ("/sample gone.npy", "gone.npy"),
        ("What are <|modality|> and <|modality|>?", "2 <|modality|> placeholders for 1 samples"),
    ],
    ids=["width", "file", "placeholders"],
)
def test_a_slip_does_not_end_or_change_a_conversation(
    typed: str, says: str, toy_integration: Path, tiny_text: str, semi: Callable
) -> None:
    chat = ["chat", toy_integration, GOOD, "--max-new-tokens", 4]
    alone = semi(*chat, input="What is it?\n")
    slipped = semi(*chat, input=f"{typed}\nWhat is it?\n")
    assert (slipped.exit_code, slipped.stdout) == (0, alone.stdout)
    assert slipped.stderr.startswith("error: ")
    assert says in slipped.stderr


def test_a_placeholder_without_a_sample_is_a_slip(toy_integration: Path, tiny_text: str, semi: Callable) -> None:
    result = semi("chat", toy_integration, "--max-new-tokens", 4, input="And <|modality|>?\nHello?\n")
    assert result.exit_code == 0
    assert "1 <|modality|> placeholders for 0 samples" in result.stderr
    assert result.stdout.count("\n") >= 1


def test_what_is_typed_must_be_utf8(toy_integration: Path, tiny_text: str, semi: Callable) -> None:
    result = semi("chat", toy_integration, GOOD, input=b"what is \xff?\n")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: what was typed is not UTF-8")
