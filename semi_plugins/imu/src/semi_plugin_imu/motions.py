"""The data set "basic-motions": standing, walking, running and badminton, measured by a smartwatch."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
from semi.errors import ArtifactError
from semi.modality import Dataset
from semi.pairs import Pair
from semi.splits import require_split

from semi_plugin_imu.assets import BASIC_MOTIONS
from semi_plugin_imu.captions import caption, pace_of
from semi_plugin_imu.recording import Recording

FOLDER = "aeon/datasets/data/BasicMotions"
RATE = 10.0
VALIDATION = 2
"""Of the ten series of each activity in the published train file, the last two."""
ACTIVITIES = {
    "Standing": "standing",
    "Walking": "walking",
    "Running": "running",
    "Badminton": "playing badminton",
}
PACES = (1.0, 5.5)
"""rad/s: most of standing lies below, half of running and badminton above."""
PHRASINGS = (
    ("a person {activity}, {pace} arm movement", "a person {activity}"),
    ("{activity} with {pace} movement of the wrist", "{activity} with a watch on the wrist"),
    ("someone is {activity}, arms {pace}", "someone is {activity}"),
    ("{pace} movement of someone {activity}", "movement of someone {activity}"),
)


class BasicMotions(Dataset):
    """80 series of ten seconds from four students, four activities; gravity has been taken out by the watch."""

    name = "basic-motions"
    modality = "imu"
    licence = "BSD-3-Clause (aeon 1.6.0)"
    assets = (BASIC_MOTIONS,)

    def pairs(self, split: str = "train") -> list[Pair]:
        """32 pairs of "train", 8 of "validation" or 40 of "test", the published test file.

        Raises:
            InputError: another split.
            AssetError: the asset has not been fetched.
        """
        require_split(self.name, split)
        return list(_build(BASIC_MOTIONS.path(FOLDER))[split])


@cache
def _build(folder: Path) -> dict[str, list[Pair]]:
    train, test = (_read(folder / f"BasicMotions_{part}.ts") for part in ("TRAIN", "TEST"))
    seen = dict.fromkeys(ACTIVITIES.values(), 0)
    kept: list[Pair] = []
    validation: list[Pair] = []
    for pair in train:
        activity = pair.attributes["activity"]
        seen[activity] += 1
        (validation if seen[activity] > 10 - VALIDATION else kept).append(pair)
    return {"train": kept, "validation": validation, "test": test}


def _read(path: Path) -> list[Pair]:
    """The series of a .ts file: six dimensions separated by ":" and then the label, one series a line."""
    try:
        lines = path.read_text("utf-8").splitlines()
        lines = lines[lines.index("@data") + 1 :]
        series = [line.split(":") for line in lines if line.strip()]
        measured = [np.array([d.split(",") for d in dimensions[:6]], np.float32).T for dimensions in series]  # (100, 6)
        labels = [ACTIVITIES[dimensions[6].strip()] for dimensions in series]
    except (OSError, ValueError, KeyError, IndexError) as error:
        do = "fetch it again: semi fetch aeon-basic-motions"
        raise ArtifactError(f"{path} cannot be read", got=f"{type(error).__name__}: {error}", do=do) from error
    pairs = []
    for number, (values, activity) in enumerate(zip(measured, labels, strict=True)):
        acceleration, gyroscope = (np.ascontiguousarray(part) for part in np.split(values, 2, axis=1))
        window = Recording(RATE, acceleration, gyroscope, f"{path.stem}, series {number + 1}").checked()
        key, pace = f"{path.stem}/{number}", pace_of(gyroscope, PACES)
        text, slots = caption(key, {"activity": activity}, pace, PHRASINGS)
        pairs.append(Pair(window.as_sample(), text, attributes=slots))
    return pairs
