"""The data set "imu": shoulder exercises of physiotherapy, measured by a smartwatch."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
from semi.modality import Dataset
from semi.pairs import Pair
from semi.splits import require_split

from semi_plugin_imu.assets import WATCH
from semi_plugin_imu.captions import caption, pace_of
from semi_plugin_imu.recording import Recording
from semi_plugin_imu.units import STANDARD_GRAVITY
from semi_plugin_imu.watch_file import read_takes

FILE = "seglearn/data/watch_dataset.npy"
RATE = 50.0
STEPS = 200
"""Four seconds; windows do not overlap, and what is left at the end of a recording is dropped."""
PEOPLE = {"train": {1, 2, 4, 5, 7, 8}, "validation": {10}, "test": {3, 6, 9}}
EXERCISES = {
    "PEN": "pendulum swing",
    "ABD": "abduction",
    "FEL": "forward elevation",
    "IR": "internal rotation",
    "ER": "external rotation",
    "TRAP": "trapezius extension",
    "ROW": "upright row",
}
"""Burns et al., Physiological Measurement 39, 075007 (2018), arXiv 1802.01489."""
PACES = (1.9, 3.2)
"""rad/s: about the terciles of the train split."""
PHRASINGS = (
    ("{pace} {exercise} of the {arm}", "{exercise} of the {arm}"),
    ("{exercise}, {arm}, {pace} pace", "{exercise}, {arm}"),
    ("the {arm} doing {exercise} at a {pace} pace", "the {arm} doing {exercise}"),
    ("shoulder exercise: {pace} {exercise} with the {arm}", "shoulder exercise: {exercise} with the {arm}"),
    ("{arm}: {exercise}, {pace}", "{arm}: {exercise}"),
)


class Exercises(Dataset):
    """1,149 windows of four seconds from 10 people, seven exercises with either arm."""

    name = "imu"
    modality = "imu"
    licence = "BSD-3-Clause (seglearn 1.2.5)"
    assets = (WATCH,)

    def pairs(self, split: str = "train") -> list[Pair]:
        """Pairs of the people of "train" (six), "validation" (one) or "test" (three), recording by recording.

        Raises:
            InputError: another split.
            AssetError: the asset has not been fetched.
        """
        require_split(self.name, split)
        return list(_build(WATCH.path(FILE))[split])


@cache
def _build(path: Path) -> dict[str, list[Pair]]:
    """All splits; kept for the process, as a command often reads two of them."""
    splits: dict[str, list[Pair]] = {split: [] for split in PEOPLE}
    of_person = {person: split for split, people in PEOPLE.items() for person in people}
    for take in read_takes(path):
        facts = {"exercise": EXERCISES[take.exercise], "arm": "right arm" if take.right else "left arm"}
        acceleration = (take.measured[:, :3] * STANDARD_GRAVITY).astype(np.float32)
        gyroscope = np.ascontiguousarray(take.measured[:, 3:], np.float32)
        for start in range(0, len(take.measured) - STEPS + 1, STEPS):
            part = slice(start, start + STEPS)
            source = f"person {take.person}, {facts['arm']}, {take.exercise}, {start / RATE:g} s"
            window = Recording(RATE, acceleration[part], gyroscope[part], source).checked()
            key = f"{take.person}/{take.exercise}/{take.right}/{start}"
            text, slots = caption(key, facts, pace_of(gyroscope[part], PACES), PHRASINGS)
            splits[of_person[take.person]].append(Pair(window.as_sample(), text, attributes=slots))
    return splits
