"""Data sets with encoders of their own, as a user of `semi adapt vectors` brings them: in no plugin and no training.

    pip install scikit-learn
    python benchmarks/own_data.py --out runs/own
    semi adapt vectors --pairs runs/own/wine-train.jsonl --shots 32 --seed 0 --out runs/own/wine
    semi eval runs/own/wine --pairs runs/own/wine-test.jsonl

Handwritten digits as 64 pixels, wines as 13 measurements, breast tissue as 30 measurements of its nuclei: files that
scikit-learn brings. A caption tells the class and three more facts: in which third of all samples a measurement lies.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from semi.artifacts import write_bytes

Floats = NDArray[np.float64]
TRAIN = 96
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


@dataclass(frozen=True)
class Samples:
    """Vectors (n, width), their facts by name, and captions that tell them."""

    vectors: Floats
    facts: list[dict[str, str]]
    template: str

    def lines(self) -> list[str]:
        """Pairs as JSONL, in an order that has nothing to do with the classes."""
        order = np.random.default_rng(0).permutation(len(self.facts))[: 2 * TRAIN]
        rows = ((self.vectors[i].round(5).tolist(), self.facts[i]) for i in order)
        return [
            json.dumps({"sample": vector, "caption": self.template.format(**facts), "attributes": facts})
            for vector, facts in rows
        ]


def tertiles(values: Floats, words: Sequence[str]) -> list[str]:
    """For each value the word of the third it lies in."""
    return [words[i] for i in np.searchsorted(np.quantile(values, [1 / 3, 2 / 3]), values, side="right")]


def _facts(**columns: Sequence[str]) -> list[dict[str, str]]:
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _standardised(x: Floats) -> Floats:
    scaled: Floats = (x - x.mean(0)) / x.std(0)
    return scaled


def _slant(image: Floats) -> float:
    """How far ink moves to the right a row upwards."""
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    y, x = (axis - (image * axis).sum() / image.sum() for axis in (y, x))
    return float(-(image * y * x).sum() / (image * y * y).sum())


def digits() -> Samples:
    """Pictures of 8 x 8 pixels."""
    from sklearn.datasets import load_digits

    data = load_digits()
    facts = _facts(
        digit=[DIGITS[i] for i in data.target],
        ink=tertiles(data.data.sum(1), ("faint", "clear", "bold")),
        slant=tertiles(np.array([*map(_slant, data.images)]), ("leaning left", "upright", "leaning right")),
        width=tertiles((data.images.sum(1) > 8).sum(1).astype(float), ("narrow", "of middle width", "wide")),
    )
    return Samples(data.data, facts, "A handwritten {digit}, {ink}, {slant}, {width}.")


def wine() -> Samples:
    """Chemical measurements of wines of three cultivars."""
    from sklearn.datasets import load_wine

    data = load_wine()
    column = dict(zip(data.feature_names, data.data.T, strict=True))
    facts = _facts(
        cultivar=["ABC"[i] for i in data.target],
        colour=tertiles(column["color_intensity"], ("pale", "red", "dark")),
        alcohol=tertiles(column["alcohol"], ("light", "medium", "strong")),
        acid=tertiles(column["malic_acid"], ("soft", "fresh", "sour")),
    )
    template = "A {colour} wine of cultivar {cultivar}, {alcohol} in alcohol, {acid} to taste."
    return Samples(_standardised(data.data), facts, template)


def tissue() -> Samples:
    """Measurements of the nuclei of breast tissue."""
    from sklearn.datasets import load_breast_cancer

    data = load_breast_cancer()
    column = dict(zip(data.feature_names, data.data.T, strict=True))
    facts = _facts(
        kind=[("Malignant", "Benign")[i] for i in data.target],
        size=tertiles(column["mean radius"], ("small", "medium", "large")),
        texture=tertiles(column["mean texture"], ("even", "mixed", "coarse")),
        outline=tertiles(column["mean concavity"], ("smooth", "slightly dented", "deeply dented")),
    )
    template = "{kind} tissue with {size} nuclei of {texture} texture and {outline} outline."
    return Samples(_standardised(data.data), facts, template)


ALL: dict[str, Callable[[], Samples]] = {"digits": digits, "wine": wine, "tissue": tissue}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for name, samples in ALL.items():
        lines = samples().lines()
        for split, part in (("train", lines[:TRAIN]), ("test", lines[TRAIN:])):
            write_bytes(options.out / f"{name}-{split}.jsonl", "".join(line + "\n" for line in part).encode())
            print(f"{options.out / name}-{split}.jsonl: {len(part)} pairs")


if __name__ == "__main__":
    main()
