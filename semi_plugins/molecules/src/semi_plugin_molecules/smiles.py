"""Reading SMILES, and what RDKit has against a molecule."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rdkit import Chem, rdBase

from semi.errors import PairsError


def read_smiles(smiles: Any) -> Chem.Mol:
    """The molecule that a SMILES string stands for.

    RDKit's own complaints are held back for the duration of the call only.

    Raises:
        PairsError: not a string, empty, or not valid SMILES; names it, and the atom that breaks a rule of chemistry.
    """
    if not isinstance(smiles, str) or not smiles.strip():
        raise PairsError(
            "a molecule must be a SMILES string",
            got=repr(smiles),
            expected='a non-empty string such as "CCO"',
            do="write the molecule as SMILES or InChI, or name an .sdf or .mol file",
        )
    text = smiles.strip()
    return sanitised(lambda sanitise: Chem.MolFromSmiles(text, sanitize=sanitise), f"invalid SMILES {text!r}", text)


def sanitised(read: Callable[[bool], Chem.Mol | None], what: str, got: str) -> Chem.Mol:
    """The molecule that RDKit reads.

    Args:
        read: reads it, with RDKit's sanitisation (valences, aromaticity) or without.
        what: begins the error.
        got: what stood there; shown where it has no molecule in it at all.

    Raises:
        PairsError: no molecule, or one that breaks a rule; with RDKit's name and message for each problem.
    """
    with rdBase.BlockLogs():
        molecule = read(True)
        if molecule is not None and molecule.GetNumAtoms():
            return molecule
        raw = read(False)
        problems = [] if raw is None else list(Chem.DetectChemistryProblems(raw))
    if problems:
        raise PairsError(
            what,
            got="; ".join(f"{problem.GetType()}: {problem.Message()}" for problem in problems),
            expected="valences and aromatic rings that RDKit accepts (atoms are counted from 0)",
            do="correct the bonds, charges or hydrogens of these atoms",
        )
    raise PairsError(
        what,
        got=got,
        expected='valid SMILES such as "CC(=O)Oc1ccccc1C(=O)O", InChI=1S/..., or an .sdf or .mol file',
        do="correct it: check brackets, ring closures and valences, and that the file is whole",
    )
