"""Facts read off a structure: functional family, rings, size, elements."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from rdkit import Chem

# The principal family is the first that matches. Order: in the main the seniority of classes of IUPAC (P-41),
# then what nomenclature only knows as prefixes (ether, nitro, halide).
# Classes outside the data set are listed so that, say, a urea is never called an amine.
FAMILIES: tuple[tuple[str, str], ...] = (
    ("carboxylic acid", "[CX3](=O)[OX2H1]"),
    ("sulfonyl compound", "[#16X4](=[OX1])(=[OX1])"),
    ("phosphorus compound", "[#15]"),
    ("anhydride", "[CX3](=O)[OX2][CX3]=O"),
    ("carbonate", "[OX2][CX3](=O)[OX2]"),
    ("carbamate", "[#7][CX3](=O)[OX2]"),
    ("ester", "[CX3;H1,$(C[#6])](=O)[OX2][#6]"),
    ("acyl halide", "[CX3](=O)[F,Cl,Br,I]"),
    ("urea", "[#7][CX3](=[O,S])[#7]"),
    ("imide", "[CX3](=O)[#7][CX3]=O"),
    ("amide", "[CX3;H1,$(C[#6])](=O)[#7]"),
    ("thioamide", "[CX3](=S)"),
    ("nitrile", "[#6]C#N"),
    ("aldehyde", "[CX3;H1,H2](=O)"),
    ("ketone", "[#6][CX3](=O)[#6]"),
    ("carbonyl compound", "[#6]=O"),
    ("alcohol", "[OX2H][CX4]"),
    ("phenol", "[OX2H]c1ccccc1"),
    ("hydroxy compound", "[OX2H]"),
    ("peroxide", "[OX2][OX2]"),
    ("thiol", "[SX2H]"),
    ("amine", "[NX3;!$(N~[!#6])]"),
    ("imine", "[#6]=[NX2]"),
    ("ether", "[OD2]([#6])[#6]"),
    ("sulfide", "[SX2]"),
    ("nitro compound", "[NX3+](=O)[O-]"),
    ("other", "[!#6;!#1;!#9;!#17;!#35;!#53]"),
    ("halide", "[#6][F,Cl,Br,I]"),
    ("hydrocarbon", "[#6]"),
)

# Elements that a caption names, in the order in which it prefers them when there are more than it has room for.
ELEMENTS = {17: "chlorine", 9: "fluorine", 35: "bromine", 53: "iodine", 16: "sulfur", 15: "phosphorus"}

SMALL, LARGE = 9, 14
"""Heavy atoms: up to 9 is small, from 14 on is large; near the tertiles of the data set."""


@dataclass(frozen=True)
class Facts:
    """What the structure alone tells about a molecule, in the words of the captions."""

    family: str
    rings: str
    size: str
    elements: tuple[str, ...]


def facts_of(molecule: Chem.Mol) -> Facts:
    """Facts of a molecule with implicit hydrogens."""
    heavy = molecule.GetNumHeavyAtoms()
    present = {atom.GetAtomicNum() for atom in molecule.GetAtoms()}
    return Facts(
        family=next((name for name, pattern in _patterns() if molecule.HasSubstructMatch(pattern)), "other"),
        rings=_rings(molecule),
        size="small" if heavy <= SMALL else "large" if heavy >= LARGE else "medium",
        elements=tuple(name for number, name in ELEMENTS.items() if number in present),
    )


@cache
def _patterns() -> tuple[tuple[str, Chem.Mol], ...]:
    return tuple((name, Chem.MolFromSmarts(smarts)) for name, smarts in FAMILIES)


def _rings(molecule: Chem.Mol) -> str:
    """The most telling ring: heteroaromatic before fused aromatic before benzene before aliphatic."""
    rings = [set(ring) for ring in molecule.GetRingInfo().AtomRings()]
    if not rings:
        return "open chain"
    aromatic = [ring for ring in rings if all(molecule.GetAtomWithIdx(i).GetIsAromatic() for i in ring)]
    if any(molecule.GetAtomWithIdx(i).GetAtomicNum() != 6 for ring in aromatic for i in ring):
        return "heteroaromatic ring"
    if any(len(a & b) > 1 for n, a in enumerate(aromatic) for b in aromatic[:n]):
        return "fused aromatic rings"
    return "benzene ring" if aromatic else "aliphatic ring"
