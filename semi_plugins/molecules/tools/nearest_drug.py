"""Prints how often a drug and the drug nearest to it are of the same ATC level 1 class, for each encoder.

Approved drugs of DrugBank with exactly one such class (`semi fetch admet-ai` brings them), each against all others.
"""

from __future__ import annotations

import csv
from collections import Counter

import numpy as np
from semi_plugin_molecules.assets import ADMET_AI
from semi_plugin_molecules.modality import Molecules

DRUGS = "admet_ai/resources/data/drugbank_approved.csv"
ENCODERS = ("morgan", "morgan-whole", "dmpnn", "dmpnn-whole")


def main() -> None:
    """Encode and compare."""
    with ADMET_AI.path(DRUGS).open(encoding="utf-8", newline="") as file:
        drugs = [(row["smiles"], row["atc_name_1"]) for row in csv.DictReader(file)]
    drugs = [(smiles, group) for smiles, group in drugs if group and ";" not in group]
    groups = np.array([group for _, group in drugs])
    majority = Counter(groups).most_common(1)[0][1] / len(groups)
    print(f"{len(groups)} drugs, {len(set(groups))} classes, majority {majority:.3f}")
    for name in ENCODERS:
        x = Molecules().encoder(name).encode([smiles for smiles, _ in drugs]).astype(np.float64)
        unit = x / np.linalg.norm(x, axis=1, keepdims=True)
        print(f"{name}: cosine {agreement(unit, groups):.3f}, Euclidean {agreement(x, groups):.3f}")


def agreement(x: np.ndarray, groups: np.ndarray) -> float:
    """Share of rows of x (n, d) whose nearest other row is of the same group (n,)."""
    squares = (x**2).sum(1)
    distances = squares[:, None] + squares - 2 * x @ x.T  # (n, n)
    np.fill_diagonal(distances, np.inf)
    return float((groups[distances.argmin(1)] == groups).mean())


if __name__ == "__main__":
    main()
