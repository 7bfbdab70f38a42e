"""Prints how well a slot can be told from each encoder's embeddings, trained on train and tried on validation and test.

Needs `semi fetch video moving-pictures sprites`; takes some minutes.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
from semi.modality import Dataset
from semi.pairs import Pair

from semi_plugin_video.modality import Video
from semi_plugin_video.moving_pictures import MovingPictures
from semi_plugin_video.sprites import Sprites

SLOTS = {"moving-pictures": ("motion", "speed", "background"), "sprites": ("action", "weapon")}
EVERY = {"moving-pictures": 6, "sprites": 1}
"""Of the clips of train, to save time."""
PENALTY = 0.1
"""Of the ridge regression, times the width; no value was chosen on what it is tried on."""


def main() -> None:
    """Encode, train, compare."""
    datasets: tuple[Dataset, ...] = (MovingPictures(), Sprites())
    for dataset in datasets:
        seen = dataset.pairs("train")[:: EVERY[dataset.name]]
        held = [*dataset.pairs("validation"), *dataset.pairs("test")]
        for name in ("motion", "efficientnet-lite0"):
            encoder = Video().encoder(name)
            x, new = (encoder.encode([pair.sample for pair in pairs]).astype(float) for pairs in (seen, held))
            for slot in SLOTS[dataset.name]:
                print(f"{dataset.name}, {name}, {slot}: {told(slot, x, seen, new, held)}", flush=True)


def told(slot: str, x: np.ndarray, seen: list[Pair], new: np.ndarray, held: list[Pair]) -> str:
    """Shares of right answers on the held-out clips that tell the slot, with a value that occurs in train."""
    here = [index for index, pair in enumerate(seen) if slot in pair.attributes]
    y = np.array([seen[index].attributes[slot] for index in here])
    there = [index for index, pair in enumerate(held) if pair.attributes.get(slot) in set(y)]
    wanted = np.array([held[index].attributes[slot] for index in there])
    mean, deviation = x[here].mean(0), x[here].std(0) + 1e-6
    a, b = (x[here] - mean) / deviation, (new[there] - mean) / deviation
    labels = np.unique(y)
    weights = np.linalg.solve(a @ a.T + 1 + PENALTY * a.shape[1] * np.eye(len(a)), y[:, None] == labels)
    linear = labels[((b @ a.T + 1) @ weights).argmax(1)]
    nearest = y[((a**2).sum(1) - 2 * b @ a.T).argmin(1)]
    commonest = Counter(y).most_common(1)[0][0]
    scores = {"linear": linear, "1-NN": nearest, "commonest": np.full(len(b), commonest)}
    shown = ", ".join(f"{name} {(answers == wanted).mean():.2f}" for name, answers in scores.items())
    return f"{shown} ({len(here)} seen, {len(there)} held out, {len(labels)} values)"


if __name__ == "__main__":
    main()
