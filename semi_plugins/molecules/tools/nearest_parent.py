"""Prints how often the drug nearest to a drug's mesylate or maleate is that drug, where salts are encoded whole.

Every third approved drug of DrugBank with one fragment and an amine (`semi fetch admet-ai` brings them), against all of
these with one fragment. Where salts are not encoded whole, the answer is always.
"""

from __future__ import annotations

import csv

import numpy as np
from rdkit import Chem, rdBase
from semi_plugin_molecules.assets import ADMET_AI
from semi_plugin_molecules.modality import Molecules

DRUGS = "admet_ai/resources/data/drugbank_approved.csv"
AMINE = Chem.MolFromSmarts("[NX3;!$(N-C=[O,N,S]);!$(N-S=O);!$(N-a)][CX4]")
ACIDS = {"mesylate": "CS(=O)(=O)O", "maleate": "O=C(O)/C=C\\C(=O)O"}


def main() -> None:
    """Encode and compare."""
    with ADMET_AI.path(DRUGS).open(encoding="utf-8", newline="") as file:
        drugs = sorted({row["smiles"] for row in csv.DictReader(file) if "." not in row["smiles"]})[::3]
    with rdBase.BlockLogs():
        bases = [place for place, drug in enumerate(drugs) if Chem.MolFromSmiles(drug).HasSubstructMatch(AMINE)]
    for name in ("morgan-whole", "dmpnn-whole"):
        encoder = Molecules().encoder(name)
        x = encoder.encode(drugs).astype(np.float64)
        for salt, acid in ACIDS.items():
            y = encoder.encode([f"{drugs[place]}.{acid}" for place in bases]).astype(np.float64)
            nearest = [((x - row) ** 2).sum(1).argmin() for row in y]
            print(f"{name}, {salt} of {len(bases)} drugs: {np.equal(nearest, bases).mean():.3f}", flush=True)


if __name__ == "__main__":
    main()
