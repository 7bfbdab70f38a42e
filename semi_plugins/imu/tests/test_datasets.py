"""The data sets: captions, splits by person, and the file of recordings that must not run code."""

from __future__ import annotations

import os
import pickle
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from semi.errors import ArtifactError, InputError
from semi.modality import Dataset
from semi.pairs import Pair

from semi_plugin_imu.assets import BASIC_MOTIONS, WATCH
from semi_plugin_imu.captions import PACES, caption, pace_of
from semi_plugin_imu.exercises import EXERCISES, FILE, PEOPLE, PHRASINGS, Exercises
from semi_plugin_imu.modality import Imu
from semi_plugin_imu.motions import PHRASINGS as OF_MOTIONS
from semi_plugin_imu.motions import BasicMotions
from semi_plugin_imu.watch_file import AXES, LABELS, read_takes

SPLITS = ("train", "validation", "test")
needs_watch = pytest.mark.skipif(not WATCH.present(), reason="run: semi fetch seglearn-watch")
needs_motions = pytest.mark.skipif(not BASIC_MOTIONS.present(), reason="run: semi fetch aeon-basic-motions")


def test_captions_tell_their_slots_word_for_word() -> None:
    told = Counter[str]()
    for phrasings, facts in (
        (PHRASINGS, {"exercise": "upright row", "arm": "left arm"}),
        (OF_MOTIONS, {"activity": "walking"}),
    ):
        texts = set()
        for number in range(300):
            text, slots = caption(str(number), facts, "brisk", phrasings)
            assert caption(str(number), facts, "brisk", phrasings) == (text, slots)
            assert all(value in text for value in slots.values())
            assert ("brisk" in text) == ("pace" in slots)
            told.update(list(slots))
            texts.add(text)
        assert len(texts) == 2 * len(phrasings)
    assert told["pace"] == pytest.approx(0.6 * 600, rel=0.15)
    values = [*EXERCISES.values(), "left arm", "right arm", *PACES]
    assert not any(one in other for one in values for other in values if one != other)


def test_pace_is_angular_velocity() -> None:
    assert [pace_of(np.full((9, 3), speed / 3**0.5), (1.0, 3.0)) for speed in (0.5, 2.0, 4.0)] == list(PACES)


@pytest.mark.assets
@needs_watch
class TestExercises:
    def test_no_person_is_in_two_splits(self) -> None:
        assert sorted(person for people in PEOPLE.values() for person in people) == list(range(1, 11))
        sizes = {split: len(Exercises().pairs(split)) for split in SPLITS}
        assert sizes == {"train": 711, "validation": 128, "test": 310}
        windows = {split: {window(pair) for pair in Exercises().pairs(split)} for split in SPLITS}
        assert sum(map(len, windows.values())) == 1149  # none comes twice
        assert len(set.union(*windows.values())) == 1149

    def test_samples_are_ones_and_in_si(self) -> None:
        for pair in Exercises().pairs("validation"):
            assert window(Pair(Imu().parse(pair.sample), "")) == window(pair)
        gravity = [np.linalg.norm(pair.sample["acceleration"], axis=1).mean() for pair in Exercises().pairs("test")]
        assert 9.5 < np.median(gravity) < 11.5

    def test_every_exercise_with_every_arm_is_in_every_split(self) -> None:
        for split in SPLITS:
            found = Counter((p.attributes["exercise"], p.attributes["arm"]) for p in Exercises().pairs(split))
            assert set(found) == {(name, f"{side} arm") for name in EXERCISES.values() for side in ("left", "right")}

    def test_the_file_is_read_as_numpy_reads_it(self) -> None:
        content = np.load(WATCH.path(FILE), allow_pickle=True).item()  # pinned by its sha256
        takes = read_takes(WATCH.path(FILE))
        assert len(takes) == 140
        for number, take in enumerate(takes):
            np.testing.assert_array_equal(take.measured, content["X"][number])
            assert take.exercise == content["y_labels"][content["y"][number]]
            assert (take.person, take.right) == (content["subject"][number], bool(content["side"][number]))


@pytest.mark.assets
@needs_motions
def test_basic_motions() -> None:
    pairs = {split: BasicMotions().pairs(split) for split in SPLITS}
    assert {split: len(found) for split, found in pairs.items()} == {"train": 32, "validation": 8, "test": 40}
    for found in pairs.values():
        assert set(Counter(pair.attributes["activity"] for pair in found).values()) == {len(found) // 4}
    assert len({window(pair) for found in pairs.values() for pair in found}) == 80
    assert Imu().parse(pairs["test"][0].sample)["rate"] == 10.0


def window(pair: Pair) -> bytes:
    measured: bytes = pair.sample["acceleration"].tobytes() + pair.sample["gyroscope"].tobytes()
    return measured


@pytest.mark.parametrize("dataset", [Exercises, BasicMotions])
def test_unknown_split_names_the_known(dataset: type[Dataset]) -> None:
    with pytest.raises(InputError) as error:
        dataset().pairs("dev")
    assert "validation" in str(error.value)


class Hostile:
    """Makes a folder where it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.folder),)


def test_code_in_the_file_is_not_run(tmp_path: Path) -> None:
    content = {"X_labels": AXES, "y_labels": LABELS, "X": [Hostile(tmp_path / "made")]}
    np.save(tmp_path / "watch.npy", np.array(content, object), allow_pickle=True)
    with pytest.raises(ArtifactError, match=r"watch\.npy cannot be read"):
        read_takes(tmp_path / "watch.npy")
    assert not (tmp_path / "made").exists()
    (tmp_path / "watch.npy").write_bytes(pickle.dumps("text"))
    with pytest.raises(ArtifactError):
        read_takes(tmp_path / "watch.npy")
