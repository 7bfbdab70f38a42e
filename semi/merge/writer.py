"""Safetensors files written without holding a tensor: known sizes at once, unknown ones by way of a part file."""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, Self

from semi.artifacts.files import PARTIAL, output_error, replacing
from semi.merge.header import itemsize

_PIECE = 1 << 20
"""Bytes copied at once."""


@dataclass(frozen=True)
class Source:
    """A tensor to be written.

    Attributes:
        name: in the file.
        dtype: as safetensors writes it.
        shape: its sizes.
        nbytes: its size.
        pieces: gives its bytes, in order.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    nbytes: int
    pieces: Callable[[], Iterable[bytes]]


def in_shards(sources: Iterable[Source], most: float) -> list[list[Source]]:
    """Tensors in their order, dealt out to files of at most `most` bytes; a larger one has a file to itself."""
    shards: list[list[Source]] = []
    size = 0
    for source in sources:
        if not shards or size + source.nbytes > most:
            shards.append([])
            size = 0
        shards[-1].append(source)
        size += source.nbytes
    return shards


def write_tensors(path: Path, sources: Sequence[Source]) -> None:
    """Write a safetensors file, atomically: header first, then the bytes of each tensor as they come.

    Raises:
        OutputError: the disk is full or the place cannot be written to; the temporary file is gone again.
    """
    # Wide types first, as the safetensors library has it: then each tensor is aligned to its type.
    ordered = sorted(sources, key=lambda source: (-itemsize(source.dtype), source.name))
    with replacing(path, size=sum(source.nbytes for source in ordered)) as file:
        file.write(_header(ordered))
        for source in ordered:
            for piece in source.pieces():
                file.write(piece)


def _move(file: BinaryIO, at: int, to: int, length: int) -> None:
    """Bytes of a file to a place before them, which they may overlap."""
    for done in range(0, length if to < at else 0, _PIECE):
        file.seek(at + done)
        piece = file.read(min(_PIECE, length - done))
        file.seek(to + done)
        file.write(piece)


def _header(sources: Sequence[Source]) -> bytes:
    entries: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for source in sources:
        entries[source.name] = {
            "dtype": source.dtype,
            "shape": list(source.shape),
            "data_offsets": [at, at + source.nbytes],
        }
        at += source.nbytes
    text = json.dumps(entries, sort_keys=True, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the format aligns tensor data to 8 bytes
    return len(text).to_bytes(8, "little") + text


@dataclass(frozen=True)
class _Written:
    """A tensor in the part file, in segments (offset, length)."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    segments: tuple[tuple[int, int], ...]


class TensorFile:
    """Grows tensors side by side in `STEM.part` and ends as STEM-00001.safetensors, ... or STEM.safetensors.

    What `record` gives goes into a journal; `resume` takes the records back, and forgets what was written after them.

    Args:
        folder: where the files lie.
        stem: begins their names.
        most: bytes of one file; None: one file, without a number, whatever its size.
    """

    def __init__(self, folder: Path, stem: str, most: int | None) -> None:
        self._folder, self._stem, self._most = folder, stem, most
        self.part = folder / f"{stem}{PARTIAL}"
        self._done: list[_Written] = []
        self._recorded = self._settled = 0  # tensors, and bytes of the part file, that `record` has told of
        self._growing: dict[str, list[tuple[int, int]]] = {}
        with self._translated():
            self._file = open(self.part, "ab")  # noqa: SIM115 - open between calls, closed by `close`
            self._size = self._synced = self._file.tell()

    def resume(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Go on after the last of what `record` gave, in the same order; without any, from nothing."""
        size = 0
        for record in records:
            size = record["size"]
            self._done += [
                _Written(name, dtype, tuple(shape), tuple((at, length) for at, length in segments))
                for name, dtype, shape, segments in record["tensors"]
            ]
        self._recorded, self._settled = len(self._done), size
        # After the last record come finished files, which take their tensors out of the part file.
        if size < self._size:
            with self._translated():
                self._file.truncate(size)
                self._file.seek(size)
        self._size = min(size, self._size)

    @property
    def pending(self) -> int:
        """Bytes that a power cut could take."""
        return self._size - self._synced

    def append(self, name: str, data: bytes | memoryview) -> None:
        """More bytes of a tensor; many may grow at the same time.

        Raises:
            OutputError: the disk is full or the place cannot be written to.
        """
        segments = self._growing.setdefault(name, [])
        if data:
            with self._translated():
                self._file.write(data)
            segments.append((self._size, len(data)))
            self._size += len(data)

    def length(self, name: str) -> int:
        """Bytes of a growing tensor so far."""
        return sum(length for _, length in self._growing.get(name, ()))

    def segments(self, name: str) -> Iterator[bytes]:
        """What a growing tensor has so far, a piece for each `append` that was not empty."""
        with self._translated():
            self._file.flush()
        for at, length in self._growing[name]:
            yield b"".join(self._read(at, length))

    def end(self, name: str, dtype: str, shape: tuple[int, ...], stored: str | None = None) -> None:
        """A tensor is complete; it is called `stored`, or as it grew."""
        self._done.append(_Written(stored or name, dtype, shape, tuple(self._growing.pop(name, ()))))

    def drop(self, name: str) -> None:
        """Leave a growing tensor out of the result."""
        self._growing.pop(name, None)

    def record(self) -> dict[str, Any]:
        """For a journal: what ended since the last record, and how long the part file is.

        Nothing may be growing. What was dropped is gone from the part file.
        """
        with self._translated():
            self._file.flush()
            self._close_gaps()
        tensors = [
            [t.name, t.dtype, list(t.shape), [list(s) for s in t.segments]] for t in self._done[self._recorded :]
        ]
        self._recorded, self._settled = len(self._done), self._size
        return {"size": self._size, "tensors": tensors}

    def sync(self) -> None:
        """Make what was recorded outlast a power cut."""
        with self._translated():
            self._file.flush()
            os.fsync(self._file.fileno())
        self._synced = self._size

    def finish(self) -> list[str]:
        """Write the files and remove the part file; after an interruption it goes on. The files' names.

        The last file first, and its bytes cut off the part file: the disk holds one file twice at most.

        Raises:
            OutputError: as `append`.
        """
        with self._translated():
            self._file.flush()
        sources = [
            Source(tensor.name, tensor.dtype, tensor.shape, sum(n for _, n in tensor.segments), self._pieces(tensor))
            for tensor in self._done
        ]
        shards = in_shards(sources, math.inf if self._most is None else self._most)
        names = [
            f"{self._stem}.safetensors" if self._most is None else f"{self._stem}-{number:05d}.safetensors"
            for number in range(1, len(shards) + 1)
        ]
        end = len(self._done)
        for shard, name in reversed(list(zip(shards, names, strict=True))):
            path = self._folder / name
            if not path.exists():
                write_tensors(path, shard)
            end -= len(shard)
            left = max((at + n for tensor in self._done[:end] for at, n in tensor.segments), default=0)
            with self._translated():
                if left < self.part.stat().st_size:
                    self._file.truncate(left)
        self.close()
        with self._translated():
            self.part.unlink()
        return names

    def close(self) -> None:
        """Close the part file, which stays."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _close_gaps(self) -> None:
        """Move what ended since the last record down over what was dropped; no journal knows of either yet."""
        fresh = self._done[self._recorded :]
        segments = sorted(segment for tensor in fresh for segment in tensor.segments)
        if self._settled + sum(length for _, length in segments) == self._size:
            return
        places, to = {}, self._settled
        with open(self.part, "r+b") as file:
            for at, length in segments:
                _move(file, at, to, length)
                places[at] = to
                to += length
            file.truncate(to)
        self._done[self._recorded :] = [
            replace(tensor, segments=tuple((places[at], length) for at, length in tensor.segments)) for tensor in fresh
        ]
        self._size = to

    def _pieces(self, tensor: _Written) -> Callable[[], Iterator[bytes]]:
        return lambda: (piece for at, length in tensor.segments for piece in self._read(at, length))

    def _read(self, at: int, length: int) -> Iterator[bytes]:
        stop = at + length
        with open(self.part, "rb") as file:
            file.seek(at)
            while at < stop:
                piece = file.read(min(_PIECE, stop - at))
                if not piece:
                    raise OSError(f"{self.part} has become shorter")
                at += len(piece)
                yield piece

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise output_error(self.part, error) from error
