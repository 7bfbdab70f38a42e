"""The newest samples of a stream, in buffers that are allocated once."""

from __future__ import annotations

import numpy as np


class Ring:
    """Stamps and samples, numbered from 0 as they are stored; the newest `room` of them are kept.

    Each is written twice, `room` apart, so that any stretch of them lies in one piece.
    """

    def __init__(self, room: int, channels: int) -> None:
        self.room = room
        self.end = 0
        """How many were stored, which is the number of the next."""
        self._stamps = np.zeros(2 * room, np.int64)
        self._samples = np.zeros((2 * room, channels))

    @property
    def begin(self) -> int:
        """Number of the oldest that is kept."""
        return max(0, self.end - self.room)

    def store(self, stamp: int, sample: np.ndarray) -> None:
        """Write a sample (channels,) over the oldest."""
        at = self.end % self.room
        self._stamps[at] = self._stamps[at + self.room] = stamp
        self._samples[at] = self._samples[at + self.room] = sample
        self.end += 1

    def stamp(self, number: int) -> int:
        """The stamp of a sample that is kept."""
        return int(self._stamps[number % self.room])

    def stretch(self, first: int, end: int) -> tuple[np.ndarray, np.ndarray]:
        """Views of the stamps (m,) and samples (m, channels) from number `first` to before `end`; copy to keep them."""
        at = first % self.room
        return self._stamps[at : at + end - first], self._samples[at : at + end - first]
