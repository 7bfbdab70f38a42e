"""Prints how well the language and the voice can be told from each encoder's embeddings.

Of the data set tuxpaint-speech (`semi fetch speech tuxpaint-speech`), 600 recordings of the train split, or 32 of them
(mean of 20 draws), and 300 of the test split, which says other things.
"""

from __future__ import annotations

import sys
from collections import Counter

import numpy as np

from semi_plugin_speech.modality import Speech
from semi_plugin_speech.tuxpaint import TuxPaintSpeech

SEEN, HELD, SHOTS, DRAWS = 600, 300, 32, 20
PENALTY = 0.1
"""Of the ridge regression, times the width; no value was chosen on what it is measured on."""


def main(names: list[str]) -> None:
    """Encode, train, compare."""
    rng = np.random.default_rng(0)
    splits = []
    for split, size in (("train", SEEN), ("test", HELD)):
        pairs = TuxPaintSpeech().pairs(split)
        splits.append([pairs[i] for i in rng.choice(len(pairs), size, replace=False)])
    for name in names:
        encoder = Speech().encoder(name)
        x, new = (encoder.encode([pair.sample for pair in pairs]).astype(np.float64) for pairs in splits)
        for slot in ("language", "voice"):
            told, wanted = (np.array([pair.attributes.get(slot, "") for pair in pairs]) for pairs in splits)
            known, asked = np.flatnonzero(told != ""), wanted != ""
            draws = [rng.choice(known, SHOTS, replace=False) for _ in range(DRAWS)]
            many = accuracy(x[known], told[known], new[asked], wanted[asked])
            few = np.mean([accuracy(x[draw], told[draw], new[asked], wanted[asked]) for draw in draws])
            chance = Counter(wanted[asked]).most_common(1)[0][1] / asked.sum()
            print(f"{name}, {slot}: all {many:.3f}, 32 shots {few:.3f}, majority {chance:.3f}", flush=True)


def accuracy(x: np.ndarray, y: np.ndarray, new: np.ndarray, wanted: np.ndarray) -> float:
    """Share of rows of `new` that ridge regression on one-hot labels gives the label that is wanted."""
    mean, deviation = x.mean(0), x.std(0) + 1e-6
    seen, held, labels = (x - mean) / deviation, (new - mean) / deviation, np.unique(y)
    weights = np.linalg.solve(seen @ seen.T + 1 + PENALTY * x.shape[1] * np.eye(len(x)), y[:, None] == labels)
    return float((labels[((held @ seen.T + 1) @ weights).argmax(1)] == wanted).mean())


if __name__ == "__main__":
    main(sys.argv[1:] or ["whisper-base", "whisper-base-quick", "resemblyzer", "openwakeword"])
