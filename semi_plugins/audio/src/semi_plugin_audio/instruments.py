"""The data set "instruments": single notes and strokes, as sound fonts hold them."""

from __future__ import annotations

import io
from functools import cache
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
from semi.artifacts import read_json, write_bytes, write_json
from semi.assets import Asset, cache_dir
from semi.modality import Dataset
from semi.pairs import Pair
from semi.splits import require_split
from semi_plugin_speech.sound import SECONDS, Sound

from semi_plugin_audio.assets import FLUID, TIM
from semi_plugin_audio.captions import caption, measured
from semi_plugin_audio.general_midi import belongs, instrument
from semi_plugin_audio.soundfont import DRUMS, SoundFont

FONTS = (
    (FLUID, "usr/share/fluidr3mono-gm-soundfont/FluidR3Mono_GM.sf3"),
    (TIM, "usr/share/sounds/sf2/TimGM6mb.sf2"),
)
"""The first for training; of the second, a quarter of the instruments for validation and the others for the test."""
SHORT, LONG, FADE = 1.0, 3.0, 0.05
"""Seconds: what loops lasts at least the first, everything at most the second, and a cut is faded over the third."""
SHARED = {"seashore"}
"""One recording in both, at a correlation of 0.995; of any other two notes the highest is below 0.95."""
VERSION = 1
"""Of what is kept in the cache."""


class Instruments(Dataset):
    """1,241 recorded notes of 132 instruments; test and validation are from another sound font."""

    name = "instruments"
    modality = "audio"
    licence = "MIT (train), GPL-2.0 (validation and test)"
    assets = (FLUID, TIM)

    def pairs(self, split: str = "train") -> list[Pair]:
        """Pairs (path, caption) in a fixed order; the notes are taken out into semi's cache once.

        Raises:
            InputError: no split of that name.
            AssetError: the sound fonts have not been fetched.
        """
        require_split(self.name, split)
        return [pair for asset, file in FONTS for part, pair in _notes(asset, asset.path(file)) if part == split]


@cache
def _notes(asset: Asset, path: Path) -> list[tuple[str, Pair]]:
    """Each note of a sound font with its split."""
    folder = cache_dir() / "sounds" / path.stem
    index = folder / "notes.json"
    kept: Any = read_json(index) if index.is_file() else None
    if not isinstance(kept, dict) or kept.get("version") != VERSION:
        folder.mkdir(parents=True, exist_ok=True)
        kept = {"version": VERSION, "notes": _taken_out(SoundFont(path), folder)}
        write_json(index, kept)
    pairs = []
    for note in kept["notes"]:
        text, slots = caption(f"{path.stem}/{note['file']}", note["sound"], note["kind"], note["facts"])
        split = "train"
        if asset is not FLUID:
            split = "validation" if crc32(note["sound"].encode()) % 4 == 0 else "test"
        if split != "train" and note["sound"] in SHARED:
            continue
        pairs.append((split, Pair(folder / note["file"], text, attributes=slots)))
    return pairs


def _taken_out(font: SoundFont, folder: Path) -> list[dict[str, Any]]:
    """Write every note that can be named as FLAC, and say of each what it is."""
    import soundfile  # type: ignore[import-untyped]  # ships no types

    notes = []
    for note in font.notes:
        named = instrument(note.bank, note.program, note.key, DRUMS)
        if named is None or (note.bank != DRUMS and not belongs(note.name, named[0], note.program)):
            continue
        signal, rate, loop = font.signal(note)
        signal = lasting(signal, rate, loop if note.loops else None)
        if len(signal) < SECONDS[0] * rate or not signal.any():
            continue
        file = f"{note.sample:04d}.flac"
        buffer = io.BytesIO()
        soundfile.write(buffer, signal, rate, format="FLAC", subtype="PCM_16")
        write_bytes(folder / file, buffer.getvalue())
        facts = measured(Sound(rate, signal))
        notes.append({"file": file, "sound": named[0], "kind": named[1], "facts": facts})
    return notes


def lasting(signal: np.ndarray, rate: int, loop: tuple[int, int] | None) -> np.ndarray:
    """A note (T,) of at least 1 s where it has a loop (begin, end), which is repeated; cut after 3 s and faded out."""
    wanted = round(SHORT * rate)
    cut = len(signal) > LONG * rate
    if loop is not None and 0 <= loop[0] < loop[1] <= len(signal) and loop[1] < wanted:
        turns = -(-(wanted - loop[1]) // (loop[1] - loop[0]))
        signal = np.concatenate((signal[: loop[1]], np.tile(signal[loop[0] : loop[1]], turns)))[:wanted]
        cut = True
    signal = signal[: round(LONG * rate)].astype(np.float32)
    if cut:
        fade = round(FADE * rate)
        signal[-fade:] *= np.linspace(1, 0, fade, dtype=np.float32)
    return signal
