"""Data sets of recorded words whose splits share nothing that is said."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TypedDict

from semi.artifacts import config_hash, read_json, write_json
from semi.assets import cache_dir
from semi.modality import Dataset
from semi.pairs import Pair
from semi.splits import SPLITS, groups_of, require_split, splits_by_hash

from semi_plugin_speech.captions import caption, voice_of
from semi_plugin_speech.reading import read_file
from semi_plugin_speech.sound import SECONDS

RATE = 16_000
VERSION = 1
"""Of what is kept in the cache about recordings."""


class Heard(TypedDict):
    """What listening to a recording told."""

    content: str
    """Hash of the file."""
    fits: bool
    """Neither silent, nor too short or too long for a sample."""
    voice: str | None


@dataclass(frozen=True)
class Recording:
    """Someone says something."""

    path: Path
    place: str
    """Its path inside the data set."""
    words: str
    """In English."""
    language: str
    keys: frozenset[str]
    """Recordings that share one never come into different splits."""


class RecordedWords(Dataset):
    """Recordings of words, about 80 % train, 10 % validation, 10 % test, by what is said."""

    modality = "speech"

    @abstractmethod
    def recordings(self) -> list[Recording]:
        """All of them in a fixed order."""

    def pairs(self, split: str = "train") -> list[Pair]:
        """Pairs (path, caption) with the attributes `language` and, where it is told, `voice`.

        The first time, every recording is listened to; what was heard is kept in semi's cache.

        Raises:
            InputError: no split of that name.
            AssetError: the recordings have not been fetched.
        """
        require_split(self.name, split)
        return list(_build(type(self), self.assets[0].folder())[split])


@cache
def _build(dataset: type[RecordedWords], folder: Path) -> dict[str, list[Pair]]:
    """All splits; cached by folder, so that another cache directory is read afresh."""
    recordings = dataset().recordings()
    heard = _heard(recordings, cache_dir() / "speech" / f"{folder.name}.json")
    usable = [recording for recording in recordings if heard[recording.place]["fits"]]
    keys = [{*recording.keys, f"words {recording.words}"} for recording in usable]
    # One recording may stand under several names.
    for its_keys, recording in zip(keys, usable, strict=True):
        its_keys.add(f"content {heard[recording.place]['content']}")
    splits: dict[str, list[Pair]] = {split: [] for split in SPLITS}
    for recording, split in zip(usable, splits_by_hash(groups_of(keys), keys), strict=True):
        voice = heard[recording.place]["voice"]
        text, slots = caption(recording.place, recording.words, recording.language, voice)
        splits[split].append(Pair(recording.path, text, attributes=slots))
    return splits


def _heard(recordings: Sequence[Recording], kept: Path) -> dict[str, Heard]:
    """What listening to each told; kept in a file, for the next time."""
    names = config_hash([VERSION, *(recording.place for recording in recordings)])
    if kept.is_file():
        found = read_json(kept)
        if isinstance(found, dict) and found.get("names") == names:
            of_each: dict[str, Heard] = found["heard"]
            return of_each
    heard: dict[str, Heard] = {}
    for recording in recordings:
        sound = read_file(recording.path)
        fits = SECONDS[0] <= sound.seconds <= SECONDS[1] and bool(sound.signal.any())
        heard[recording.place] = Heard(
            content=sha256(recording.path.read_bytes()).hexdigest()[:16],
            fits=fits,
            voice=voice_of(sound.at(RATE), RATE) if fits else None,
        )
    kept.parent.mkdir(parents=True, exist_ok=True)
    write_json(kept, {"names": names, "heard": heard})
    return heard
