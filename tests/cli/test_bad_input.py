"""Bad pairs, samples, settings and configurations: refused by name with exit code 2, and nothing is written.

What is wrong with saved folders, language models, outputs and disks is in test_bad_folders.py.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml

Refused = Callable[..., str]
Write = Callable[..., Path]
VERBS = ("adapt", "encode", "eval")
GOOD = json.dumps([0.5] * 10)


@pytest.fixture
def reading(foundation_folder: Path, toy_integration: Path, tiny_text: str) -> Callable[[str, object], list[object]]:
    """The arguments with which a verb reads a pairs file, of vectors unless another modality is named."""

    def arguments(verb: str, file: object, modality: str = "vectors") -> list[object]:
        return {
            "adapt": ["adapt", modality, "--pairs", file, "--foundation", foundation_folder, "--out", "out"],
            "encode": ["encode", modality, file, "--out", "out"],
            "eval": ["eval", toy_integration, "--pairs", file, "--json"],
        }[verb]

    return arguments


# Line 7 of twelve: what stands there, and what the message must say beside the file and the line.
LINES: dict[str, tuple[str, str]] = {
    "broken JSON": (f'{{"sample": {GOOD}, "caption": ', "JSON"),
    "no object": (GOOD, "object"),
    "missing sample": ('{"caption": "red cat"}', "sample is missing"),
    "missing caption": (f'{{"sample": {GOOD}}}', "caption is missing"),
    "empty caption": (f'{{"sample": {GOOD}, "caption": "  "}}', "caption is empty"),
    "caption is a number": (f'{{"sample": {GOOD}, "caption": 3}}', "caption is not text"),
    "misspelt key": (f'{{"sample": {GOOD}, "captoin": "red cat"}}', "did you mean 'caption'?"),
    "NaN": ('{"sample": [0.5, NaN], "caption": "red cat"}', "NaN"),
    "infinity": ('{"sample": [0.5, 1e999], "caption": "red cat"}', "entry 2"),
    "text in a vector": ('{"sample": [0.5, "x"], "caption": "red cat"}', "entry 2"),
    "missing file": ('{"sample": "gone.npy", "caption": "red cat"}', "gone.npy"),
    "half a character": (f'{{"sample": {GOOD}, "caption": "\\ud800"}}', "half a character"),
}


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("problem", LINES)
def test_a_bad_line_is_named(verb: str, problem: str, reading: Callable, pairs_file: Write, refused: Refused) -> None:
    line, says = LINES[problem]
    refused(*reading(verb, pairs_file(lines={7: line})), says=("pairs.jsonl, line 7", says))


@pytest.mark.parametrize("verb", VERBS)
def test_every_bad_line_is_named_at_once(verb: str, reading: Callable, pairs_file: Write, refused: Refused) -> None:
    file = pairs_file(lines={3: "{", 7: '{"sample": [1]}', 9: "[]"})
    refused(*reading(verb, file), says=("pairs.jsonl", "line 3", "line 7", "line 9"))


FILES: dict[str, tuple[str, bytes | None, str]] = {
    "missing": ("gone.jsonl", None, "does not exist"),
    "empty": ("pairs.jsonl", b"", "is empty"),
    "blank": ("pairs.jsonl", b"\n \n", "is empty"),
    "not UTF-8": ("pairs.jsonl", b'{"sample": [1], "caption": "a"}\n{"sample": [1], "caption": "\xff"}\n', "line 2"),
    "CSV without its columns": ("pairs.csv", b"vector,text\n[1],a\n", "line 1"),
    "CSV with an open quote": ("pairs.csv", b'sample,caption\n"[1],a\n', "line 2"),
    "CSV without a caption": ("pairs.csv", b'sample,caption\n"[1]",a\n"[2]",\n', "line 3"),
    "another suffix": ("pairs.txt", b'{"sample": [1], "caption": "a"}\n', ".jsonl or .csv"),
}


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("problem", FILES)
def test_a_bad_file_is_named(verb: str, problem: str, reading: Callable, work: Path, refused: Refused) -> None:
    name, content, says = FILES[problem]
    if content is not None:
        (work / name).write_bytes(content)
    refused(*reading(verb, work / name), says=(name, says))


@pytest.mark.parametrize("verb", VERBS)
def test_a_folder_is_no_pairs_file(verb: str, reading: Callable, work: Path, refused: Refused) -> None:
    (work / "pairs.jsonl").mkdir()
    refused(*reading(verb, work / "pairs.jsonl"), says=("pairs.jsonl",))


@pytest.mark.parametrize("verb", VERBS)
def test_an_unknown_data_set_is_named(verb: str, reading: Callable, refused: Refused) -> None:
    refused(*reading(verb, "molekules"), says=("unknown dataset 'molekules'",))


@pytest.mark.parametrize("verb", VERBS)
def test_vectors_of_two_widths(verb: str, reading: Callable, pairs_file: Write, refused: Refused) -> None:
    file = pairs_file(lines={7: '{"sample": [0.1, 2], "caption": "red cat"}'})
    refused(*reading(verb, file), says=("line 7", "another width", "2 numbers", "10 numbers"))


def test_vectors_of_another_width_than_the_integration_reads(
    reading: Callable, work: Path, toy_integration: Path, tiny_text: str, refused: Refused
) -> None:
    (work / "narrow.jsonl").write_text('{"sample": [1, 2], "caption": "red cat"}\n' * 3)
    refused(*reading("eval", "narrow.jsonl"), says=("sample", "another width", "10 numbers"))
    refused("describe", toy_integration, "[1, 2]", says=("sample", "another width", "10 numbers"))
    refused("chat", toy_integration, "[1, 2]", says=("sample", "another width", "10 numbers"))


@pytest.mark.parametrize("verb", ["adapt", "encode"])
@pytest.mark.parametrize("number", [-2.0, 0.0])
def test_nan_or_infinity_in_an_embedding(
    verb: str, number: float, reading: Callable, logarithms: str, work: Path, refused: Refused
) -> None:
    numbers = [1.0, 2.0, 3.0, number]
    (work / "n.jsonl").write_text("".join(f'{{"sample": {n}, "caption": "a {n}"}}\n' for n in numbers))
    refused(*reading(verb, "n.jsonl", logarithms), says=("holds NaN or infinity", f"sample {number}"))


@pytest.mark.parametrize("verb", ["adapt", "encode"])
def test_an_unknown_modality_is_named(verb: str, reading: Callable, pairs_file: Write, refused: Refused) -> None:
    refused(*reading(verb, pairs_file(), "vektors"), says=("unknown modality 'vektors'", "did you mean 'vectors'?"))


@pytest.mark.parametrize("verb", ["adapt", "encode"])
def test_an_unknown_encoder_is_named(verb: str, reading: Callable, pairs_file: Write, refused: Refused) -> None:
    refused(*reading(verb, pairs_file()), "--encoder", "magic", says=("no encoder 'magic'",))


SMILES = ["CCO", "CCN", "C1CC", "CCCl", "CCBr", "c1ccccc1"]


@pytest.mark.parametrize("verb", ["adapt", "encode"])
def test_invalid_smiles_is_named_and_can_be_skipped(
    verb: str, reading: Callable, work: Path, refused: Refused, semi: Callable
) -> None:
    pytest.importorskip("semi_plugin_molecules")
    lines = [json.dumps({"sample": smiles, "caption": f"molecule {i}"}) for i, smiles in enumerate(SMILES)]
    (work / "m.jsonl").write_text("\n".join(lines))
    arguments = reading(verb, "m.jsonl", "molecules")
    refused(*arguments, says=("m.jsonl, line 3", "invalid SMILES 'C1CC'"))
    quick = ["--steps", 0, "--no-diagnose"] if verb == "adapt" else []
    result = semi(*arguments, *quick, "--skip-bad")
    assert result.exit_code == 0, result.stderr
    assert "skipped line 3: invalid SMILES 'C1CC'" in result.stderr
    assert "1 skipped" in result.stdout or "skipped 1 of 6 pairs" in result.stderr
    assert (work / "out" / "manifest.json").exists()


def test_a_file_of_nothing_but_bad_lines_is_refused_even_with_skip_bad(
    reading: Callable, work: Path, refused: Refused
) -> None:
    (work / "bad.jsonl").write_text("{\n{\n")
    refused(*reading("encode", "bad.jsonl"), "--skip-bad", says=("bad.jsonl",))


ADAPT: dict[str, tuple[list[object], tuple[str, ...]]] = {
    "fewer pairs than shots": (["--shots", 13], ("13 shots, 12 pairs",)),
    "no shots": (["--shots", 0], ("at least one shot",)),
    "negative shots": (["--shots", -1], ("at least one shot",)),
    "one shot": (["--shots", 1], ("too few pairs",)),
    "negative steps": (["--steps", -1], ("steps", "-1")),
    "no learning rate": (["--lr", 0], ("learning rate",)),
    "NaN learning rate": (["--lr", "nan"], ("learning rate",)),
    "unknown method": (
        ["--method", "magic"],
        ("unknown method", "magic", "semi, ridge, scratch, finetune, lora, bias"),
    ),
    "unknown precision": (["--precision", "int3"], ("unknown precision", "int3", "nf4")),
    "unfit precision": (["--precision", "q4_1"], ("does not come in Q4_1",)),
    "samples beside pairs": (["--samples", "x.npy", "--labels", "y.csv"], ("--pairs and --samples",)),
    "labels beside pairs": (["--labels", "y.csv"], ("--pairs and --labels",)),
}


@pytest.mark.parametrize("problem", ADAPT)
def test_a_setting_out_of_range_is_named(problem: str, reading: Callable, pairs_file: Write, refused: Refused) -> None:
    options, says = ADAPT[problem]
    refused(*reading("adapt", pairs_file()), *options, says=says)


def test_an_unknown_foundation_is_named(pairs_file: Write, work: Path, refused: Refused) -> None:
    arguments = ["adapt", "vectors", "--pairs", pairs_file(), "--out", "out", "--foundation"]
    refused(*arguments, "smolm2-135m", says=("unknown foundation 'smolm2-135m'",))
    refused(*arguments, work / "gone", says=("gone",))
    refused(*arguments, work, says=(str(work), "incomplete"))


def test_pairs_that_are_all_the_same_teach_nothing(reading: Callable, work: Path, refused: Refused) -> None:
    (work / "same.jsonl").write_text(f'{{"sample": {GOOD}, "caption": "red cat"}}\n' * 6)
    refused(*reading("adapt", "same.jsonl"), says=("all the same",))


LABELLED: dict[str, tuple[list[str], tuple[str, ...]]] = {
    "neither pairs nor samples": ([], ("none of them", "--pairs")),
    "samples without labels": (["--samples", "x.npy"], ("--samples", "--labels")),
    "labels without samples": (["--labels", "y.csv"], ("--labels", "--samples")),
    "missing samples": (["--samples", "gone.npy", "--labels", "y.csv"], ("gone.npy does not exist",)),
    "missing labels": (["--samples", "x.npy", "--labels", "gone.csv"], ("gone.csv does not exist",)),
    "truncated samples": (["--samples", "cut.npy", "--labels", "y.csv"], ("cut.npy",)),
    "pickled samples": (["--samples", "pickled.npy", "--labels", "y.csv"], ("pickled.npy",)),
    "folder of samples": (["--samples", "folder.npy", "--labels", "y.csv"], ("folder.npy",)),
    "NaN in a sample": (["--samples", "nan.npy", "--labels", "y.csv"], ("nan.npy, sample 2", "NaN")),
    "fewer labels": (["--samples", "x.npy", "--labels", "few.csv"], ("6 samples, 2 labels",)),
    "empty label": (["--samples", "x.npy", "--labels", "empty.csv"], ("sample 3", "empty.csv, line 4")),
    "template": (["--samples", "x.npy", "--labels", "y.csv", "--template", "no"], ("{label}",)),
}


@pytest.mark.parametrize("problem", LABELLED)
def test_bad_samples_or_labels_are_named(
    problem: str, foundation_folder: Path, tiny_text: str, work: Path, refused: Refused
) -> None:
    x = np.random.default_rng(0).standard_normal((6, 10)).astype(np.float32)
    np.save(work / "x.npy", x)
    np.save(work / "nan.npy", np.where(np.arange(6)[:, None] == 1, np.nan, x))
    np.save(work / "pickled.npy", np.array([{"a": 1}] * 6), allow_pickle=True)
    (work / "cut.npy").write_bytes((work / "x.npy").read_bytes()[:-9])
    (work / "folder.npy").mkdir()
    for name, labels in (("y", "abcabc"), ("few", "ab"), ("empty", "ab cab")):
        (work / f"{name}.csv").write_text("number,label\n" + "".join(f"{i},{c}\n" for i, c in enumerate(labels)))
    options, says = LABELLED[problem]
    refused("adapt", "vectors", *options, "--foundation", foundation_folder, "--out", "out", says=says)


SAMPLES: dict[str, tuple[str, str]] = {
    "missing file": ("gone.npy", "gone.npy"),
    "broken JSON": ("[1, 2", "broken JSON"),
    "NaN": ("[NaN, 1]", "entry 1"),
    "infinity": ("[1, 1e999]", "entry 2"),
    "text": ('["a"]', "entry 1"),
    "nothing": ("[]", "not a vector"),
    "very deep": ("[" * 100_000, "JSON"),
}


@pytest.mark.parametrize("verb", ["describe", "chat"])
@pytest.mark.parametrize("problem", SAMPLES)
def test_a_bad_sample_is_named(
    verb: str, problem: str, toy_integration: Path, tiny_text: str, refused: Refused
) -> None:
    sample, says = SAMPLES[problem]
    refused(verb, toy_integration, GOOD, sample, says=(says,))


PROJECTOR = {
    "sources": [{"procedural": 4, "weight": 1}],
    "schedule": {"steps": 2, "lr": 1e-3},
    "text_encoder": "tiny-text",
}
CONFIGS: dict[str, tuple[str | bytes | None, tuple[str, ...]]] = {
    "missing": (None, ("cannot be read",)),
    "empty": ("", ("no settings",)),
    "not YAML": ("a: [1", ("is not YAML", "line 1")),
    "not UTF-8": (b"a: \xff", ("is not YAML",)),
    "a list": ("- 1", ("no settings", "list")),
    "an object of Python": ("!!python/object/apply:os.getcwd []", ("is not YAML",)),
    "three problems": (
        yaml.safe_dump(PROJECTOR | {"batch": 0, "noize": 1, "schedule": {"steps": 2}}),
        ("batch: ", "noize: ", "schedule.lr: "),
    ),
    "missing encoded folder": (
        yaml.safe_dump(PROJECTOR | {"sources": [{"encoded": "gone", "weight": 1}]}),
        ("gone is not a folder", "embeddings"),
    ),
    "both kinds of source": (
        yaml.safe_dump(PROJECTOR | {"sources": [{"encoded": "gone", "procedural": 4, "weight": 1}]}),
        ("sources.0", "either"),
    ),
    "unknown precision": (yaml.safe_dump(PROJECTOR | {"precision": "int3"}), ("precision: ", "nf4")),
}


BOTH = ("missing", "not YAML", "three problems")


@pytest.mark.parametrize(
    ("training", "problem"), [*(("projector", p) for p in CONFIGS), *(("hypernetwork", p) for p in BOTH)]
)
def test_a_bad_configuration_is_named(problem: str, training: str, work: Path, refused: Refused) -> None:
    content, says = CONFIGS[problem]
    if content is not None:
        (work / "c.yaml").write_bytes(content.encode() if isinstance(content, str) else content)
    refused("train", training, "c.yaml", "--out", "out", says=("c.yaml", *says) if "gone" not in says[0] else says)


def test_a_folder_is_no_configuration(work: Path, refused: Refused) -> None:
    refused("train", "projector", work, "--out", "out", says=(str(work), "cannot be read"))


def test_an_unknown_text_encoder_is_named(work: Path, tiny_lm: Path, refused: Refused) -> None:
    settings = PROJECTOR | {"text_encoder": "texd", "language_model": str(tiny_lm), "precision": "fp32"}
    (work / "c.yaml").write_text(yaml.safe_dump(settings))
    refused("train", "projector", "c.yaml", "--out", "out", says=("unknown modality 'texd'",))
