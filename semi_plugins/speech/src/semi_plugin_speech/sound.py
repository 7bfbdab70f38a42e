"""What every form of a sample comes down to: one channel at a known rate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from semi.errors import PairsError

from semi_plugin_speech.resampling import resampled

SECONDS = (0.1, 30.0)
"""Shortest and longest sample; 30 s is what Whisper hears at a time."""
RATES = (4000, 384_000)
"""Hz; below, speech is not understood."""
LOUDEST = 10.0
"""Full scale is 1. Files in floating point may go somewhat beyond; more is PCM that was not scaled."""


class Clip(dict[str, Any]):
    """A sample that is no file, as semi keeps it: {"rate": Hz, "data": (T,)}. Shows as where it came from."""

    source: str = ""
    """For people only; no part of the content, so a recording that moves keeps its hash."""

    def __repr__(self) -> str:
        said = f"{len(self['data']) / self['rate']:.3g} s of sound at {self['rate']:g} Hz"
        return f"{self.source}: {said}" if self.source else said


@dataclass(frozen=True)
class Sound:
    """One channel of sound."""

    rate: int
    """Hz."""
    signal: np.ndarray
    """(T,), float32; full scale is 1."""
    source: str = ""
    """Where it came from, for people."""

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return len(self.signal) / self.rate

    def checked(self) -> Sound:
        """Itself.

        Raises:
            PairsError: a rate or length out of bounds, NaN or infinity, or numbers that are not scaled to 1.
        """
        name = self.source or "a sample"
        if not RATES[0] <= self.rate <= RATES[1]:
            raise PairsError(
                f"{name}: the sampling rate is out of bounds",
                got=f"{self.rate} Hz",
                expected=f"{RATES[0]} to {RATES[1]} Hz",
                do="declare values a second, not thousands of them",
            )
        if not len(self.signal):
            raise PairsError(f"{name} is empty", got="no values", expected=f"at least {SECONDS[0]:g} s")
        if not np.isfinite(self.signal).all():
            at = int(np.argmin(np.isfinite(self.signal)))
            raise PairsError(f"{name} holds NaN or infinity", got=f"at value {at + 1}", expected="finite numbers")
        if (loudest := float(np.abs(self.signal).max())) > LOUDEST:
            raise PairsError(
                f"{name} is not scaled to 1",
                got=f"values up to {loudest:.4g}",
                expected="-1 to 1",
                do="divide by full scale (32768 for 16 bits), or give an array of integer type",
            )
        if not SECONDS[0] <= self.seconds <= SECONDS[1]:
            raise PairsError(
                f"{name} is too {'short' if self.seconds < SECONDS[0] else 'long'}",
                got=f"{self.seconds:.3g} s",
                expected=f"{SECONDS[0]:g} to {SECONDS[1]:g} s",
                do='choose a part: {"file": ..., "start": seconds, "duration": seconds}',
            )
        return self

    def at(self, rate: int) -> np.ndarray:
        """The signal (T,), float32, at another rate."""
        return resampled(self.signal, self.rate, rate)

    def part(self, start: float, duration: float | None) -> Sound:
        """From `start` for `duration` seconds (None: to the end).

        Raises:
            PairsError: it begins or ends after the end.
        """
        first = round(start * self.rate)
        last = len(self.signal) if duration is None else first + round(duration * self.rate)
        if first >= len(self.signal) or last > len(self.signal):
            raise PairsError(
                f"{self.source or 'a sample'} ends before the chosen part does",
                got=f"{self.seconds:.3g} s",
                expected=f"at least {last / self.rate:.3g} s",
            )
        return Sound(self.rate, self.signal[first:last], self.source)

    def as_sample(self) -> Clip:
        """The form in which semi keeps it."""
        clip = Clip(rate=self.rate, data=self.signal)
        clip.source = self.source
        return clip


def mono(values: np.ndarray, source: str = "") -> np.ndarray:
    """One channel (T,), float32, of PCM or floating point (T,), (T, channels) or (channels, T).

    Integers are scaled by their type: int16 by 32768, int32 by 2^31, uint8 from 128 on. Channels are averaged.

    Raises:
        PairsError: another shape or type.
    """
    name = source or "a sample"
    if values.ndim == 2 and min(values.shape) in range(1, 9):
        values = values if values.shape[1] <= values.shape[0] else values.T
    elif values.ndim != 1:
        expected = "(T,), (T, channels) or (channels, T), at most 8 channels"
        raise PairsError(f"{name} is no signal", got=f"shape {values.shape}", expected=expected)
    kind = values.dtype
    if kind in (np.int16, np.int32):
        values = values / -float(np.iinfo(kind).min)
    elif kind == np.uint8:
        values = (values.astype(np.float64) - 128) / 128
    elif kind.kind not in "fiu":
        raise PairsError(f"{name} holds no numbers", got=kind, expected="numbers")
    if values.ndim == 2:
        values = values.mean(axis=1)
    with np.errstate(over="ignore"):  # becomes infinity, which `Sound.checked` refuses
        return values.astype(np.float32)
