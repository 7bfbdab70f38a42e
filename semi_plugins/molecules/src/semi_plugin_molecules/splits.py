"""Splits that share no molecular framework."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence

from rdkit import Chem
from rdkit.Chem.Scaffolds import MurckoScaffold

SHARES = {"train": 0.7, "validation": 0.1, "test": 0.2}
COMMON = 0.03
"""A group with more than this part of all items goes to train: elsewhere it would make up half of a split."""


def framework(molecule: Chem.Mol) -> str:
    """What must not be shared: the Bemis-Murcko scaffold, or the bare skeleton of a molecule without rings.

    Bemis and Murcko, J. Med. Chem. 39, 2887 (1996). An acyclic molecule has no such scaffold; its skeleton is the graph
    of its heavy atoms with elements and bond orders forgotten, so that butane, butanol and chlorobutane go by length
    and branching.
    """
    bare = Chem.Mol(molecule)
    Chem.RemoveStereochemistry(bare)
    scaffold = MurckoScaffold.GetScaffoldForMol(bare)  # type: ignore[no-untyped-call]  # RDKit's Python part has no types
    if scaffold.GetNumAtoms():
        return str(Chem.MolToSmiles(scaffold))
    return "acyclic " + str(Chem.MolToSmiles(_skeleton(bare)))


def split_by_group(groups: Sequence[str]) -> list[str]:
    """The split of each item, such that items of one group stay together.

    Common groups (benzene, naphthalene, ...) go to train. The others are dealt from the largest to the smallest, each
    to the split that is furthest below its share, so that the shares are met closely.
    """
    sizes: dict[str, int] = defaultdict(int)
    for group in groups:
        sizes[group] += 1
    filled = dict.fromkeys(SHARES, 0)
    split: dict[str, str] = {}
    for group in sorted(sizes, key=lambda g: (-sizes[g], hashlib.sha256(g.encode()).digest())):
        is_common = sizes[group] > COMMON * len(groups)
        split[group] = "train" if is_common else min(SHARES, key=lambda name: filled[name] / SHARES[name])
        filled[split[group]] += sizes[group]
    return [split[group] for group in groups]


def _skeleton(molecule: Chem.Mol) -> Chem.Mol:
    """All heavy atoms as dummies, all bonds single: dummies, because five bonds would be too many for a carbon."""
    graph = Chem.RWMol()
    for _ in molecule.GetAtoms():
        graph.AddAtom(Chem.Atom(0))
    for bond in molecule.GetBonds():
        graph.AddBond(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx(), Chem.BondType.SINGLE)
    return graph.GetMol()
