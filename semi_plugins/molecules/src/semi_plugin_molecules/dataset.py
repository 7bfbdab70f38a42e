"""The data set "molecules": organic molecules of known physical state with captions made from facts."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from rdkit import Chem, rdBase

from semi.errors import InputError
from semi.modality import Dataset
from semi.pairs import Pair
from semi_plugin_molecules.assets import CHEMICALS
from semi_plugin_molecules.captions import caption
from semi_plugin_molecules.facts import Facts, facts_of
from semi_plugin_molecules.phases import read_states
from semi_plugin_molecules.smiles import read_smiles
from semi_plugin_molecules.splits import SHARES, framework, split_by_group

IDENTIFIERS = tuple(
    f"Identifiers/chemical identifiers {part}.tsv" for part in ("example user db", "pubchem small", "pubchem large")
)
"""The first, whatever its name, holds some very common substances (aspirin, butane, ...) that the others lack."""
ORDINARY = {1, 6, 7, 8, 9, 15, 16, 17, 35, 53}  # H C N O F P S Cl Br I
HEAVY_ATOMS = range(3, 41)
FAMILIES = (
    "carboxylic acid",
    "ester",
    "amide",
    "nitrile",
    "aldehyde",
    "ketone",
    "alcohol",
    "phenol",
    "amine",
    "ether",
    "nitro compound",
    "halide",
    "hydrocarbon",
)
"""Rarer families (carbamates, thiols, ...) are left out: 32 shots could not hold them."""
PER_FAMILY = 360


@dataclass(frozen=True)
class Molecule:
    """A molecule of the data set before its caption is written."""

    smiles: str
    facts: Facts
    state: str


class MoleculesDataset(Dataset):
    """About 4,500 molecules; no Bemis-Murcko scaffold and no acyclic skeleton is in two splits."""

    name = "molecules"
    modality = "molecules"
    licence = "MIT (chemicals 1.5.2)"
    assets = (CHEMICALS,)

    def pairs(self, split: str = "train") -> list[Pair]:
        """Pairs of "train" (70 %), "validation" (10 %) or "test" (20 %), in a fixed order.

        Raises:
            InputError: another split.
            AssetError: the asset has not been fetched.
        """
        if split not in SHARES:
            raise InputError(f"the data set molecules has no split {split!r}", got=split, expected=", ".join(SHARES))
        return list(_build(CHEMICALS.path("chemicals"))[split])


@cache
def _build(root: Path) -> dict[str, list[Pair]]:
    """All splits; kept for the process, as a command often reads two of them."""
    chosen = balanced(read_molecules(root))
    splits: dict[str, list[Pair]] = {split: [] for split in SHARES}
    groups = [framework(read_smiles(molecule.smiles)) for molecule in chosen]
    for molecule, split in zip(chosen, split_by_group(groups), strict=True):
        text, slots = caption(molecule.smiles, molecule.facts, molecule.state)
        splits[split].append(Pair(molecule.smiles, text, attributes=slots))
    return splits


def read_molecules(root: Path) -> list[Molecule]:
    """Neutral organic molecules of one component, 3 to 40 heavy atoms, ordinary elements and known state.

    Duplicates that differ in stereochemistry only are kept once: the captions could not tell them apart.
    """
    states = read_states(root)
    found: dict[str, Molecule] = {}
    for name in IDENTIFIERS:
        with (root / name).open(encoding="utf-8") as file, rdBase.BlockLogs():
            for line in file:
                _, cas, _, _, smiles, _ = line.split("\t", 5)  # PubChem id, CAS, formula, mass, SMILES, names
                state = states.get(cas.replace("-", ""))
                molecule = Chem.MolFromSmiles(smiles) if state and "." not in smiles else None
                if molecule is None or state is None or not _is_ordinary(molecule):
                    continue
                key = Chem.MolToSmiles(molecule, isomericSmiles=False)
                if key not in found:
                    found[key] = Molecule(key, facts_of(molecule), state)
    return [molecule for molecule in found.values() if molecule.facts.family in FAMILIES]


def balanced(molecules: list[Molecule]) -> list[Molecule]:
    """At most PER_FAMILY molecules of each family, as even as possible over state, rings and size.

    Within a family, molecules are dealt one at a time from the cells (state, rings, size) in turn, in an order that
    only a hash of the SMILES decides; so rare cells are taken whole and the solid benzene derivatives, which are half
    of the source, do not crowd out the rest.
    """
    cells: dict[str, dict[tuple[str, str, str], list[Molecule]]] = defaultdict(lambda: defaultdict(list))
    for molecule in sorted(molecules, key=_order):
        facts = molecule.facts
        cells[facts.family][molecule.state, facts.rings, facts.size].append(molecule)
    chosen: list[Molecule] = []
    for family in cells.values():
        dealt = sorted(
            (turn, _order(molecule), molecule) for cell in family.values() for turn, molecule in enumerate(cell)
        )
        chosen += [molecule for _, _, molecule in dealt[:PER_FAMILY]]
    return sorted(chosen, key=_order)


def _is_ordinary(molecule: Chem.Mol) -> bool:
    numbers = {atom.GetAtomicNum() for atom in molecule.GetAtoms()}
    return (
        molecule.GetNumHeavyAtoms() in HEAVY_ATOMS
        and 6 in numbers
        and numbers <= ORDINARY
        and Chem.GetFormalCharge(molecule) == 0
        and not any(atom.GetIsotope() or atom.GetNumRadicalElectrons() for atom in molecule.GetAtoms())
    )


def _order(molecule: Molecule) -> bytes:
    return hashlib.sha256(molecule.smiles.encode()).digest()
