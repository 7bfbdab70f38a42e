"""Prints how well the exercise and the arm can be told from each encoder's embeddings, for people left out.

Each of the 10 people of the data set imu in turn (`semi fetch imu`): trained on the other nine, or on 32 of their
windows (mean of 20 draws).
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from semi_plugin_imu.assets import WATCH
from semi_plugin_imu.exercises import FILE, PEOPLE, STEPS, Exercises
from semi_plugin_imu.modality import Imu
from semi_plugin_imu.watch_file import read_takes

SHOTS, DRAWS = 32, 20
PENALTY = 0.1
"""Of the ridge regression, times the width; no value was chosen on the people it is measured on."""


def main() -> None:
    """Encode, train, compare."""
    pairs = [pair for split in PEOPLE for pair in Exercises().pairs(split)]
    people = np.array(people_of_windows())
    for name in ("riann", "statistics"):
        x = Imu().encoder(name).encode([pair.sample for pair in pairs]).astype(np.float64)
        for slot in ("exercise", "arm"):
            y = np.array([pair.attributes[slot] for pair in pairs])
            majority = Counter(y).most_common(1)[0][1] / len(y)
            scores = {"linear": [], "1-NN": [], "linear, 32 shots": [], "1-NN, 32 shots": []}
            rng = np.random.default_rng(0)
            for person in range(1, 11):
                seen, held = np.flatnonzero(people != person), people == person
                scores["linear"] += [accuracy(linear, x, y, seen, held)]
                scores["1-NN"] += [accuracy(nearest, x, y, seen, held)]
                for _ in range(DRAWS):
                    few = rng.choice(seen, SHOTS, replace=False)
                    scores["linear, 32 shots"] += [accuracy(linear, x, y, few, held)]
                    scores["1-NN, 32 shots"] += [accuracy(nearest, x, y, few, held)]
            shown = ", ".join(f"{kind} {np.mean(values):.3f}" for kind, values in scores.items())
            print(f"{name}, {slot}: {shown}, majority {majority:.3f}")


def people_of_windows() -> list[int]:
    """The person of each window, in the order of the splits."""
    takes = read_takes(WATCH.path(FILE))
    return [
        t.person for ids in PEOPLE.values() for t in takes if t.person in ids for _ in range(len(t.measured) // STEPS)
    ]


def accuracy(classify, x, y, seen, held) -> float:  # type: ignore[no-untyped-def]
    """Share of held-out rows of x (n, d) that get their label; axes standardised on what was seen."""
    mean, deviation = x[seen].mean(0), x[seen].std(0) + 1e-6
    z = (x - mean) / deviation
    return float((classify(z[seen], y[seen], z[held]) == y[held]).mean())


def linear(x: np.ndarray, y: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Ridge regression on one-hot labels."""
    labels = np.unique(y)
    weights = np.linalg.solve(x @ x.T + 1 + PENALTY * x.shape[1] * np.eye(len(x)), y[:, None] == labels)
    return labels[((new @ x.T + 1) @ weights).argmax(1)]


def nearest(x: np.ndarray, y: np.ndarray, new: np.ndarray) -> np.ndarray:
    """The label of the nearest row."""
    return y[((x**2).sum(1) - 2 * new @ x.T).argmin(1)]


if __name__ == "__main__":
    main()
