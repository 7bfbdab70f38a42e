from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semi.errors import PairsError, PluginError
from semi.modality import Encoder, Modality
from semi.pairs import Pair
from semi.pairs_io import draw_shots, pairs_sha256, read_pairs, write_pairs
from semi.vectors import Vectors


class Words(Modality):
    """Text without "!"; a sample "@name" is the file of that name."""

    name = "words"
    instruction = "Describe this word."

    def encoder(self, name: str | None = None) -> Encoder:
        raise NotImplementedError

    def parse(self, sample: Any, *, folder: Path | None = None) -> str:
        if not isinstance(sample, str) or "!" in sample:
            raise PairsError("not a word", got=repr(sample))
        return (folder / sample[1:]).read_text() if folder and sample.startswith("@") else sample


GOOD = {"sample": "a", "caption": "The letter a."}


def lines(*records: object) -> bytes:
    return "".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in records).encode()


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def write(data: bytes, name: str = "pairs.jsonl") -> Path:
        (tmp_path / name).write_bytes(data)
        return tmp_path / name

    return write


Write = Callable[..., Path]

words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="!\0"), min_size=1).filter(
    lambda text: text.strip() == text and not text.startswith("@")
)
pairs_of_words = st.lists(
    st.builds(
        Pair,
        sample=words,
        caption=words,
        instruction=st.none() | words,
        attributes=st.dictionaries(words, words, max_size=2),
    ),
    min_size=1,
    max_size=5,
)


@given(pairs=pairs_of_words)
def test_written_pairs_come_back(tmp_path_factory: pytest.TempPathFactory, pairs: list[Pair]) -> None:
    path = tmp_path_factory.getbasetemp() / "round.jsonl"
    write_pairs(path, pairs)
    found = read_pairs(path, modality=Words())
    assert found.pairs == pairs
    assert found.sha256 == pairs_sha256(pairs)


@given(pairs=pairs_of_words)
def test_csv_and_jsonl_say_the_same(tmp_path_factory: pytest.TempPathFactory, pairs: list[Pair]) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["caption", "sample", "attributes", "instruction"])
    for pair in pairs:
        attributes = json.dumps(pair.attributes) if pair.attributes else ""
        writer.writerow([pair.caption, pair.sample, attributes, pair.instruction])
    path = tmp_path_factory.getbasetemp() / "round.csv"
    path.write_bytes(text.getvalue().encode())
    assert read_pairs(path, modality=Words()).sha256 == pairs_sha256(pairs)


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"\xef\xbb\xbf" + lines(GOOD, GOOD), "bom.jsonl"),
        (lines(GOOD, GOOD).replace(b"\n", b"\r\n"), "crlf.jsonl"),
        (lines(GOOD, "", "  ", GOOD, "", ""), "blank.jsonl"),
        (lines(GOOD, GOOD).rstrip(), "no end.jsonl"),
        (b"\xef\xbb\xbfsample,caption\r\na,The letter a.\r\n\r\na, The letter a. \r\n\r\n", "excel.CSV"),
    ],
)
def test_what_editors_do_to_files_is_taken(write: Write, data: bytes, name: str) -> None:
    found = read_pairs(write(data, name), modality=Words())
    assert found.pairs == [Pair("a", "The letter a.")] * 2


def test_a_path_is_relative_to_the_file(write: Write, tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_text("beta")
    path = write(lines({"sample": "@b.txt", "caption": "b"}))
    assert read_pairs(str(path), modality=Words()).pairs[0].sample == "beta"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"sample": "a", "caption": "b"', "not JSON"),
        ("[1, 2]", "not a JSON object"),
        ('{"sample": [NaN], "caption": "b"}', "NaN is not a finite number"),
        ('{"sample": "a", "sample": "b", "caption": "c"}', "'sample' is there twice"),
        ("[" * 100_000, "not JSON"),
        ({"sample": "a"}, "caption is missing"),
        ({"sample": "a", "caption": None}, "caption is missing"),
        ({"sample": "a", "caption": ""}, "caption is empty"),
        ({"sample": "a", "caption": " \t"}, "caption is empty"),
        ({"sample": "a", "caption": 3}, "caption is not text"),
        ({"sample": "a", "caption": "\ud800"}, "half a character"),
        ({"caption": "a"}, "sample is missing"),
        ({"sample": "!", "caption": "a"}, "not a word"),
        ({"sample": "@none.txt", "caption": "a"}, "none.txt"),
        ({**GOOD, "captoin": "a"}, "unknown key 'captoin'"),
        ({**GOOD, "instruction": ""}, "instruction is empty"),
        ({**GOOD, "attributes": {"family": 3}}, "attributes are not text by name"),
    ],
)
def test_a_bad_line_is_named_and_can_be_skipped(write: Write, line: object, said: str) -> None:
    path = write(lines(*[GOOD] * 6, line, GOOD))
    with pytest.raises(PairsError, match=said) as caught:
        read_pairs(path, modality=Words())
    assert f"{path}, line 7: " in caught.value.what
    assert caught.value.exit_code == 2
    assert caught.value.do
    found = read_pairs(path, modality=Words(), skip_bad=True)
    assert len(found.pairs) == 7
    assert len(found.skipped) == 1
    assert said in found.skipped[0]
    assert found.skipped[0].startswith("line 7: ")


def test_all_problems_come_in_one_message(write: Write) -> None:
    path = write(lines(GOOD, *[{"sample": "!", "caption": "a"}] * 4, *[{"sample": "a"}] * 4))
    with pytest.raises(PairsError) as caught:
        read_pairs(path, modality=Words())
    message = str(caught.value)
    assert "8 of 9 pairs cannot be used" in message
    assert "line 2: not a word (got '!')" in message
    assert "line 6: caption is missing" in message
    assert "line 7" not in message
    assert "and 3 more" in message
    assert "--skip-bad" in message


def test_nothing_left_after_skipping_is_an_error(write: Write) -> None:
    with pytest.raises(PairsError, match="line 1: caption is missing"):
        read_pairs(write(lines({"sample": "a"})), modality=Words(), skip_bad=True)


@pytest.mark.parametrize(
    ("data", "name", "said"),
    [
        (b"", "e.jsonl", "e.jsonl is empty"),
        (b"\n \n", "e.jsonl", "e.jsonl is empty"),
        (b"\xef\xbb\xbf\n", "e.jsonl", "e.jsonl is empty"),
        (b"", "e.csv", "e.csv is empty"),
        (b"sample,caption\n", "e.csv", "e.csv is empty"),
        (b" , \n", "e.csv", "e.csv is empty"),
        (lines(GOOD) + b"\xff", "e.jsonl", "line 2: not UTF-8"),
        (lines(GOOD).decode().encode("utf-16"), "e.jsonl", "line 1: not UTF-8"),
        (b"sample,text\na,b\n", "e.csv", "line 1: the header does not name"),
        (b"sample;caption\na;b\n", "e.csv", "with commas"),
        (b"sample,sample,caption\na,b,c\n", "e.csv", "line 1: the header"),
        (b'sample,caption\na,"b\nc\n', "e.csv", "line 2: not a CSV row"),
        (b'sample,caption\n"a\na",b\nc\n', "e.csv", "line 4: caption is missing"),
        (b"sample,caption\na,b,c\n", "e.csv", "line 2: too many cells"),
        (b"sample,caption,attributes\na,b,c\n", "e.csv", "line 2: attributes: not JSON"),
        (b"GIF89a", "e.gif", "neither a pairs file nor the name of a data set"),
    ],
)
def test_a_bad_file_is_named(write: Write, data: bytes, name: str, said: str) -> None:
    path = write(data, name)
    with pytest.raises(PairsError, match=said) as caught:
        read_pairs(path, modality=Words())
    assert name in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(PairsError, match=r"none\.jsonl does not exist"):
        read_pairs(tmp_path / "none.jsonl", modality=Words())
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(PairsError, match=r"folder\.csv cannot be read"):
        read_pairs(tmp_path / "folder.csv", modality=Words())


def test_an_unknown_data_set_is_named() -> None:
    with pytest.raises(PluginError, match="nosuchdata"):
        read_pairs("nosuchdata:test", modality=Words())
    with pytest.raises(PairsError, match="no such split"):
        read_pairs("nosuchdata", modality=Words(), split="tset")


def test_vectors_are_read_from_both_formats(write: Write, tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", np.array([1.0, 2.5], np.float32))
    path = write(b'sample,caption\n"[1, 2.5]",a\nv.npy,a\n', "v.csv")
    for pair in read_pairs(path, modality=Vectors()).pairs:
        np.testing.assert_array_equal(pair.sample, np.array([1.0, 2.5], np.float32))


PAIRS = [Pair(str(number), f"caption {number}") for number in range(40)]


@given(k=st.integers(1, 40), seed=st.integers())
def test_shots_are_distinct_nested_and_repeatable(k: int, seed: int) -> None:
    shots = draw_shots(PAIRS, k, seed)
    assert len({pair.sample for pair in shots}) == k
    assert draw_shots(PAIRS, 40, seed)[:k] == shots


def test_shots_do_not_depend_on_the_process() -> None:
    script = (
        "from semi.pairs import Pair; from semi.pairs_io import draw_shots\n"
        "print(*(pair.sample for pair in draw_shots([Pair(str(n), 'c') for n in range(40)], 5, 0)))"
    )
    here = " ".join(pair.sample for pair in draw_shots(PAIRS, 5, 0))
    there = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.strip()
    assert here == there


def test_every_pair_is_drawn_about_equally_often() -> None:
    drawn = [pair.sample for seed in range(400) for pair in draw_shots(PAIRS, 4, seed)]
    counts = np.unique(drawn, return_counts=True)[1]
    assert len(counts) == 40
    # 40 expected each, standard deviation 6
    assert counts.min() > 15
    assert counts.max() < 65


@pytest.mark.parametrize("k", [0, -1, 41])
def test_impossible_shots_state_both_counts(k: int) -> None:
    with pytest.raises(PairsError) as caught:
        draw_shots(PAIRS, k, 0)
    assert caught.value.got == f"{k} shots, 40 pairs"


def test_the_hash_sees_every_field_and_the_content_of_files(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    variants = [
        Pair("a", "b"),
        Pair("a", "b", "c"),
        Pair("a", "b", attributes={"c": "d"}),
        Pair(["a"], "b"),
        Pair(b"a", "b"),
        Pair(np.zeros(2), "b"),
        Pair(np.zeros((2, 1)), "b"),
        Pair(np.zeros(2, np.float32), "b"),
        Pair(tmp_path / "a", "b"),
    ]
    hashes = [pairs_sha256([pair]) for pair in variants]
    (tmp_path / "a").write_text("2")
    hashes += [pairs_sha256(variants[-1:]), pairs_sha256(variants[:2]), pairs_sha256(variants[1::-1])]
    assert len(set(hashes)) == len(hashes)


def test_the_hash_of_a_file_that_is_gone_names_the_sample(tmp_path: Path) -> None:
    with pytest.raises(PairsError, match=r"file of sample 2 cannot be read") as caught:
        pairs_sha256([Pair("a", "b"), Pair(tmp_path / "gone.png", "b")])
    assert "gone.png" in str(caught.value)


def test_paths_are_written_relative_to_the_file_wherever_both_are_seen_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for sample, file in ((tmp_path / "a.png", "p.jsonl"), (Path("a.png"), tmp_path / "p.jsonl")):
        write_pairs(file, [Pair(sample, "b")])
        assert json.loads(Path(file).read_text())["sample"] == "a.png"


def test_samples_that_no_file_can_hold_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PairsError, match="sample 2 cannot be kept"):
        write_pairs(tmp_path / "p.jsonl", [Pair("a", "b"), Pair(object(), "b")])
    with pytest.raises(PairsError, match="sample 1 holds NaN"):
        write_pairs(tmp_path / "p.jsonl", [Pair(np.array([np.nan]), "b")])
    with pytest.raises(PairsError, match="sample 1 cannot be kept"):
        pairs_sha256([Pair(object(), "b")])
    assert not list(tmp_path.iterdir())


def test_arrays_and_paths_are_written_inline(tmp_path: Path) -> None:
    sample = {"v": np.array([0.1], np.float32), "path": tmp_path / "x/y.png", "n": np.float32(2)}
    write_pairs(tmp_path / "p.jsonl", [Pair(sample, "ü")])
    text = (tmp_path / "p.jsonl").read_text(encoding="utf-8")
    assert "ü" in text
    assert json.loads(text)["sample"] == {"v": [float(np.float32(0.1))], "path": "x/y.png", "n": 2.0}
