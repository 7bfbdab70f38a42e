"""The encoder "statistics": what a sound is like, in numbers that have names; no weights."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from semi_plugin_speech.mel import mel_filters, power_spectrum
from semi_plugin_speech.pitch import pitch
from semi_plugin_speech.reading import read_sample

RATE, SIZE, HOP = 16_000, 512, 160
BANDS, STRETCHES, MODULATIONS = 40, 15, 8
FLOOR = 1e-8
"""Added to powers before their logarithm: 80 dB below a full-scale sine."""


class Statistics:
    """217 numbers of a sound that is scaled to a peak of 1.

    40 mel bands: mean, deviation, mean change from frame to frame and maximum of their logarithm (160); chroma (12);
    mean and deviation of centre, width, roll-off, flatness and crossings of zero (10); loudness: before scaling, mean,
    deviation and crest (4); length, attack, temporal centre, decay and onsets a second (5); pitch, its deviation and
    how periodic the sound is (3); how fast the loudness varies, 8 bands of 1 to 50 Hz (8); loudness in 15 stretches.
    """

    id = "audio/statistics@1"
    width = 4 * BANDS + 12 + 10 + 4 + 5 + 3 + MODULATIONS + STRETCHES

    def encode(self, samples: Sequence[Any]) -> np.ndarray:
        """Embeddings (n, 217), float32, of n sounds, each brought to 16 kHz.

        Raises:
            PairsError: a sample is not one.
        """
        rows = np.empty((len(samples), self.width), np.float32)
        for row, sample in zip(rows, samples, strict=True):
            row[:] = features(read_sample(sample).at(RATE))
        return rows


def features(signal: np.ndarray) -> np.ndarray:
    """The 217 numbers of a signal (T,) at 16 kHz, each of the order of 1."""
    peak = float(np.abs(signal).max())
    scaled = signal.astype(np.float64) / max(peak, 1e-6)
    power = power_spectrum(np.pad(scaled, SIZE // 2), SIZE, HOP) / (SIZE / 4) ** 2  # (frames, 257); a sine gives 1
    bands = np.log10(power @ mel_filters(BANDS, SIZE, RATE).T * 100 + FLOOR) / 2  # (frames, 40)
    change = np.abs(np.diff(bands, axis=0)).mean(0) if len(bands) > 1 else np.zeros(BANDS)
    loudness = np.log10(power.sum(1) + FLOOR) / 2  # (frames,)
    of_level = (np.log10(peak + 1e-4), loudness.mean(), loudness.std(), _crest(scaled))
    parts = (
        bands.mean(0), bands.std(0), change, bands.max(0), _chroma(power), _shape(power, scaled), of_level,
        _course(loudness, len(signal)), _pitch(scaled), _modulation(loudness), _stretches(loudness),
    )  # fmt: skip
    return np.concatenate([np.asarray(part, np.float64) for part in parts])


def _crest(signal: np.ndarray) -> float:
    return float(np.log10(1 / max(np.sqrt((signal**2).mean()), 1e-3)))


def _chroma(power: np.ndarray) -> np.ndarray:
    """How the power between 60 Hz and 5 kHz is spread over the 12 tones of the octave."""
    frequencies = np.fft.rfftfreq(SIZE, 1 / RATE)
    inside = (frequencies > 60) & (frequencies < 5000)
    tones = np.round(12 * np.log2(frequencies[inside] / 440)).astype(int) % 12
    total = np.bincount(tones, power[:, inside].mean(0), 12)
    spread: np.ndarray = total / max(float(total.sum()), FLOOR)
    return spread


def _shape(power: np.ndarray, signal: np.ndarray) -> list[float]:
    """Mean and deviation over the louder frames of five measures of the spectrum."""
    total = power.sum(1)
    loud = power[total >= total.max() / 1e4] + 1e-12
    frequencies, share = np.linspace(0, 1, power.shape[1]), loud / loud.sum(1, keepdims=True)
    centre = share @ frequencies
    width = np.sqrt((share * (frequencies - centre[:, None]) ** 2).sum(1))
    rolloff = (np.cumsum(share, axis=1) < 0.85).sum(1) / power.shape[1]
    flatness = np.log10(np.exp(np.log(loud).mean(1)) / loud.mean(1)) / 4
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(signal, SIZE // 2), SIZE)[::HOP]
    crossings = (np.diff(np.signbit(frames), axis=1) != 0).mean(1)
    return [value for row in (centre, width, rolloff, flatness, crossings) for value in (row.mean(), row.std())]


def _course(loudness: np.ndarray, length: int) -> list[float]:
    """Length, when it is loudest, where its middle lies, how steeply it dies away, and how often something begins."""
    seconds, frames = length / RATE, len(loudness)
    energy = 10 ** (2 * loudness)
    loudest = int(energy.argmax())
    middle = float(energy @ np.arange(frames) / max(energy.sum(), FLOOR)) / frames
    after = loudness[loudest:]
    decay = float((after[0] - after[-1]) / max(len(after) * HOP / RATE, 0.05))
    rises = np.diff(loudness, prepend=loudness[:1]) > 0.15  # 3 dB from frame to frame
    onsets = float((rises[1:] & ~rises[:-1]).sum()) / seconds
    return [np.log2(seconds), loudest / frames, middle, np.log10(1 + max(decay, 0)), np.log10(1 + onsets)]


def _pitch(signal: np.ndarray) -> list[float]:
    found, periodic = pitch(signal, RATE, 40, 2000)
    voiced = np.log2(found[periodic > 0.6] / 220)
    if not len(voiced):
        return [0.0, 0.0, float(periodic.mean()) if len(periodic) else 0.0]
    return [float(np.median(voiced)), float(voiced.std()), float(periodic.mean())]


def _modulation(loudness: np.ndarray) -> np.ndarray:
    """How much the loudness varies in each of 8 bands from 1 to 50 Hz, equally wide in octaves."""
    varying = loudness - loudness.mean()
    size = max(256, len(varying))
    power = np.abs(np.fft.rfft(varying * np.hanning(len(varying) + 2)[1:-1], size)) ** 2 / len(varying)
    frequencies = np.fft.rfftfreq(size, HOP / RATE)
    edges = np.geomspace(1, 50, MODULATIONS + 1)
    inside = [(frequencies >= low) & (frequencies < high) for low, high in pairwise(edges)]
    return np.array([np.log10(1e-4 + power[band].mean()) / 4 if band.any() else -1.0 for band in inside])


def _stretches(loudness: np.ndarray) -> np.ndarray:
    """The mean loudness in 15 stretches of equal length, from the loudest on."""
    edges = np.linspace(0, len(loudness), STRETCHES + 1)
    means = [loudness[int(a) : max(int(a) + 1, int(np.ceil(b)))].mean() for a, b in pairwise(edges)]
    relative: np.ndarray = np.array(means) - loudness.max()
    return relative
