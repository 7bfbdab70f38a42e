"""The data set "sound-effects": animals, tools, drums, electronic sounds from three collections."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path

from semi.modality import Dataset
from semi.pairs import Pair
from semi.splits import SPLITS, groups_of, require_split, splits_by_hash
from semi_plugin_speech.assets import TUXPAINT
from semi_plugin_speech.reading import read_file
from semi_plugin_speech.sound import SECONDS, Sound
from semi_plugin_speech.tuxpaint import clean

from semi_plugin_audio.assets import LMMS, SONIC_PI
from semi_plugin_audio.captions import caption, measured
from semi_plugin_audio.names import described, group

UNREADABLE = {
    "drums/kick04", "effects/scratch01", "effects/wind_chimes01", "instruments/harpsichord01", "misc/hit01",
}  # fmt: skip
"""Of LMMS: Ogg within WAV, which libsndfile refuses."""
LONGEST = 12.0
"""Seconds: a longer file is a piece of music."""
KINDS = {
    "ambi": "ambience", "bass": "synthesizer", "bd": "percussion", "drum": "percussion", "elec": "electronic",
    "glitch": "electronic", "guit": "instrument", "loop": "loop", "mehackit": "electronic", "misc": "effect",
    "perc": "percussion", "sn": "percussion", "tabla": "percussion", "vinyl": "effect", "basses": "synthesizer",
    "bassloops": "loop", "beats": "loop", "drums": "percussion", "effects": "effect", "instruments": "instrument",
    "latin": "instrument", "stringsnpads": "synthesizer", "animals": "animal", "hobbies": "instrument",
    "household": "household",
}  # fmt: skip
"""By the first word of a name, or the folder."""


@dataclass(frozen=True)
class Effect:
    """A sound file and what its collection says of it."""

    path: Path
    place: str
    sound: str
    kind: str
    keys: frozenset[str]
    """Files that share one never come into different splits."""


class SoundEffects(Dataset):
    """374 recordings of up to 12 seconds, about 80 % train, 10 % validation, 10 % test."""

    name = "sound-effects"
    modality = "audio"
    licence = "CC0-1.0 (Sonic Pi), GPL-2.0 (Tux Paint), GPL-2.0-or-later (LMMS)"
    assets = (SONIC_PI, LMMS, TUXPAINT)

    def pairs(self, split: str = "train") -> list[Pair]:
        """Pairs (path, caption) in a fixed order; takes of one sound are in one split.

        Raises:
            InputError: no split of that name.
            AssetError: a collection has not been fetched.
        """
        require_split(self.name, split)
        return list(_build(*(asset.folder() for asset in self.assets))[split])


@cache
def _build(sonic_pi: Path, lmms: Path, tuxpaint: Path) -> dict[str, list[Pair]]:
    """All splits; cached by folder, so that another cache directory is read afresh."""
    usable: list[tuple[Effect, Sound]] = []
    for effect in (*_named(sonic_pi, "*.flac"), *_named(lmms, "*.ogg"), *_stamps(tuxpaint)):
        sound = read_file(effect.path)
        if SECONDS[0] <= sound.seconds <= LONGEST and sound.signal.any():
            usable.append((effect, sound))
    keys = [{*effect.keys, sha256(effect.path.read_bytes()).hexdigest()} for effect, _ in usable]
    splits: dict[str, list[Pair]] = {split: [] for split in SPLITS}
    for (effect, sound), split in zip(usable, splits_by_hash(groups_of(keys), keys), strict=True):
        text, slots = caption(effect.place, effect.sound, effect.kind, measured(sound))
        splits[split].append(Pair(effect.path, text, attributes=slots))
    return splits


def _named(root: Path, pattern: str) -> Iterator[Effect]:
    """Files whose names say what they are."""
    for path in sorted(root.rglob(pattern)):
        folder, first = path.parent.name, path.stem.partition("_")[0]
        kind = KINDS.get(folder) or KINDS.get(first)
        place = f"{folder}/{path.stem}"
        if kind and place not in UNREADABLE and (sound := described(path.stem)):
            yield Effect(path, place, sound, kind, frozenset({f"{folder}/{group(path.stem)}"}))


def _stamps(root: Path) -> Iterator[Effect]:
    """Stamps of Tux Paint that make a sound, with the text of their picture."""
    stamps = root / "usr/share/tuxpaint/stamps"
    for path in sorted(stamps.rglob("*.ogg")):
        place, text = path.relative_to(stamps), path.with_suffix(".txt")
        if "_desc" in path.name or place.parts[0] not in KINDS or not text.is_file():
            continue
        words = clean(re.sub(r"\s*\([^)]*\)", "", text.read_text(encoding="utf-8").partition("\n")[0]))
        sound = re.sub(r"^(an?|the|two|some) ", "", words)
        stem = re.sub(r"[\d_-]+", " ", path.stem.lower()).strip()
        if sound:
            yield Effect(path, place.as_posix(), sound, KINDS[place.parts[0]], frozenset({f"stem {stem}", sound}))
