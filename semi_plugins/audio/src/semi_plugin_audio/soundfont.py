"""Recorded notes out of a sound font (SoundFont 2.04, or SF3 with Ogg Vorbis inside)."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from semi.errors import ArtifactError

# Generators of the specification, section 8.1.2.
_INSTRUMENT, _KEYS, _SAMPLE, _MODES = 41, 43, 53, 54
_VORBIS = 0x10
"""Bit of a sample's type in SF3."""
DRUMS = 128
"""The bank of percussion, in which each key is an instrument."""


@dataclass(frozen=True)
class Note:
    """A recorded sample in the first place that uses it."""

    name: str
    bank: int
    program: int
    key: int
    """The lowest that it is played for."""
    loops: bool
    sample: int
    """Its number in the file."""


class SoundFont:
    """A file of presets, each made of recordings for ranges of keys."""

    def __init__(self, path: Path) -> None:
        """Read the tables.

        Args:
            path: an .sf2 or .sf3 file.

        Raises:
            ArtifactError: not such a file, or cut off.
        """
        self._path = path
        try:
            self._content = path.read_bytes()
            self._chunks = dict(_chunks(self._content, 12, len(self._content)))
            self._samples = self._table("shdr", "<20sIIIIIBbHH")
            self.notes = list(self._notes())
        except (OSError, struct.error, KeyError, IndexError) as error:
            raise ArtifactError(
                f"{path} cannot be read as a sound font", got=f"{type(error).__name__}: {error}", do="fetch it again"
            ) from error

    def signal(self, note: Note) -> tuple[np.ndarray, int, tuple[int, int]]:
        """The recording of a note: values (T,), rate in Hz, and where its loop begins and ends.

        Raises:
            ArtifactError: what is in its place is no recording.
        """
        import soundfile  # type: ignore[import-untyped]  # ships no types

        _, start, end, loop_start, loop_end, rate, _, _, _, kind = self._samples[note.sample]
        place, _ = self._chunks[b"smpl"]
        if not kind & _VORBIS:
            values = np.frombuffer(self._content, "<i2", end - start, place + 2 * start) / 32768
            return values.astype(np.float32), rate, (loop_start - start, loop_end - start)
        try:
            values, rate = soundfile.read(io.BytesIO(self._content[place + start : place + end]), dtype="float32")
        except soundfile.SoundFileError as error:
            raise ArtifactError(f"{self._path}: {note.name} cannot be decoded", got=error) from error
        return values, int(rate), (loop_start, loop_end)

    def _notes(self) -> Iterator[Note]:
        """Each sample once, under the first preset that plays it: banks and programs from the lowest."""
        instruments = self._zones("inst", "<20sH", 1, "ibag", "igen")
        presets = self._zones("phdr", "<20sHHHIII", 3, "pbag", "pgen")
        order = sorted(presets, key=lambda preset: (preset[0][2], preset[0][1]))
        seen: set[int] = set()
        for header, zones in order:
            for zone in zones:
                if _INSTRUMENT not in zone:
                    continue
                for inner in instruments[zone[_INSTRUMENT]][1]:
                    if _SAMPLE in inner and inner[_SAMPLE] not in seen:
                        seen.add(inner[_SAMPLE])
                        name = self._samples[inner[_SAMPLE]][0].split(b"\0")[0].decode("latin-1").strip()
                        key, loops = inner.get(_KEYS, 0) & 0xFF, inner.get(_MODES, 0) in (1, 3)
                        yield Note(name, header[2], header[1], key, loops, inner[_SAMPLE])

    def _zones(
        self, table: str, layout: str, place: int, bags: str, generators: str
    ) -> list[tuple[Any, list[dict[int, int]]]]:
        """Each entry of a table (but the last, which only ends it) with the generators of its zones."""
        entries, starts = self._table(table, layout), [start for start, _ in self._table(bags, "<HH")]
        amounts = self._table(generators, "<HH")
        zones = [dict(amounts[a:b]) for a, b in pairwise(starts)]
        ends = [entry[place] for entry in entries]
        return [(entry, zones[a:b]) for entry, (a, b) in zip(entries, pairwise(ends), strict=False)]

    def _table(self, name: str, layout: str) -> list[Any]:
        start, size = self._chunks[name.encode()]
        return list(struct.iter_unpack(layout, self._content[start : start + size]))


def _chunks(content: bytes, at: int, end: int) -> Iterator[tuple[bytes, tuple[int, int]]]:
    """Name, place and size of the chunks of a RIFF file, those within lists too."""
    while at + 8 <= end:
        name, size = struct.unpack_from("<4sI", content, at)
        if name == b"LIST":
            yield from _chunks(content, at + 12, at + 8 + size)
        else:
            yield name, (at + 8, size)
        at += 8 + size
        if size % 2 and content[at : at + 4] != b"LIST":  # SF3 files leave out the padding before a list
            at += 1
