"""Files that are dropped: the same pairs as from the command line, and never a file that was not dropped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from semi.errors import InputError, PairsError
from semi.pairs_io import read_pairs
from semi.ui.dropped import lay_out, pairs_of, recording_of, sample_of
from semi.vectors import Vectors

KIND = Vectors()


@pytest.fixture
def labelled(tmp_path: Path) -> list[Path]:
    np.save(tmp_path / "windows.npy", np.eye(3))
    (tmp_path / "labels.csv").write_text("label\nwalk\nrun\nrest\n", "utf-8")
    return [tmp_path / "windows.npy", tmp_path / "labels.csv"]


def test_pairs_are_those_of_the_file(drops: Path, tmp_path: Path) -> None:
    laid = lay_out([drops / "pairs.jsonl"], tmp_path / "1")
    assert pairs_of(laid, KIND).sha256 == read_pairs(drops / "pairs.jsonl", modality=KIND).sha256


def test_a_table_with_captions_is_pairs_and_one_without_is_labels(labelled: list[Path], tmp_path: Path) -> None:
    found = pairs_of(labelled, KIND, "Now {label}.").pairs
    assert [pair.caption for pair in found] == ["Now walk.", "Now run.", "Now rest."]
    (tmp_path / "pairs.csv").write_text('sample,caption\n"[1, 2]",one\n"[2, 1]",two\n', "utf-8")
    assert len(pairs_of([tmp_path / "pairs.csv"], KIND).pairs) == 2


def test_a_sample_that_the_table_names_lies_beside_it(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.ones(3))
    (tmp_path / "pairs.jsonl").write_text('{"sample": "a.npy", "caption": "ones"}', "utf-8")
    laid = lay_out([tmp_path / "pairs.jsonl", tmp_path / "a.npy"], tmp_path / "1")
    (pair,) = pairs_of(laid, KIND).pairs
    assert pair.sample.tolist() == [1, 1, 1]


def test_a_file_that_was_not_dropped_is_refused(tmp_path: Path) -> None:
    class Files(Vectors):
        def parse(self, sample: object, *, folder: Path | None = None) -> Path:  # type: ignore[override]
            return Path(folder or "", str(sample))

        def misfits(self, samples: object) -> dict[int, PairsError]:
            return {}

    (tmp_path / "secret").write_text("", "utf-8")
    (tmp_path / "pairs.jsonl").write_text('{"sample": "../secret", "caption": "no"}', "utf-8")
    laid = lay_out([tmp_path / "pairs.jsonl"], tmp_path / "1")
    with pytest.raises(PairsError, match="not dropped"):
        pairs_of(laid, Files())


@pytest.mark.parametrize("names", [["a.npy"], ["a.jsonl", "b.jsonl"], ["a.wav", "b.wav"]], ids=" ".join)
def test_files_without_pairs_are_named(names: list[str], tmp_path: Path) -> None:
    for name in names:
        (tmp_path / name).write_text("", "utf-8")
    with pytest.raises(PairsError, match="where are the pairs") as caught:
        pairs_of([tmp_path / name for name in names], KIND)
    assert names[0] in str(caught.value)


@pytest.mark.parametrize("bad", [1, 2])
def test_advice_is_what_the_page_can_do(tmp_path: Path, bad: int) -> None:
    (tmp_path / "pairs.jsonl").write_text('{"sample": "<b>", "caption": ""}\n' * bad, "utf-8")
    with pytest.raises(PairsError, match=r"pairs\.jsonl") as caught:
        pairs_of([tmp_path / "pairs.jsonl"], KIND)
    assert "--" not in str(caught.value)
    assert "drop the file again" in str(caught.value)


def test_no_files_and_two_of_a_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no files"):
        lay_out([], tmp_path / "1")
    for folder in "ab":
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.csv").write_text("", "utf-8")
    with pytest.raises(InputError, match="same name"):
        lay_out([tmp_path / "a" / "x.csv", tmp_path / "b" / "x.csv"], tmp_path / "2")


def test_a_sample_is_typed_or_dropped_and_never_a_path(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.ones(2))
    assert sample_of(" [1, 2] ", [], KIND).tolist() == [1, 2]
    assert sample_of("", [tmp_path / "a.npy"], KIND).tolist() == [1, 1]
    with pytest.raises(InputError, match="a path is no sample"):
        sample_of(str(tmp_path / "a.npy"), [], KIND)
    with pytest.raises(InputError, match="no sample yet"):
        sample_of("  ", [], KIND)
    for text in ("a" * 10_000, "\0", "[1, "):
        with pytest.raises(PairsError):
            sample_of(text, [], KIND)


def test_a_recording_is_one_file_or_a_rosbag2_folder(tmp_path: Path) -> None:
    bag = [tmp_path / name for name in ("metadata.yaml", "a.db3", "b.db3")]
    assert recording_of(bag) == tmp_path
    assert recording_of(bag[1:2]) == bag[1]
    with pytest.raises(InputError, match="which of the files"):
        recording_of(bag[1:])
