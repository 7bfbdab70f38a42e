"""Reading SMILES."""

from __future__ import annotations

from typing import Any

from rdkit import Chem, rdBase

from semi.errors import PairsError


def read_smiles(smiles: Any) -> Chem.Mol:
    """The molecule that a SMILES string stands for.

    RDKit's own complaints are held back for the duration of the call only.

    Raises:
        PairsError: not a string, empty, or not valid SMILES; names it.
    """
    if not isinstance(smiles, str) or not smiles.strip():
        raise PairsError(
            "a molecule must be a SMILES string",
            got=repr(smiles),
            expected='a non-empty string such as "CCO"',
            do="write the molecule as SMILES",
        )
    with rdBase.BlockLogs():
        molecule = Chem.MolFromSmiles(smiles.strip())
    if molecule is None or not molecule.GetNumAtoms():
        raise PairsError(
            f"invalid SMILES {smiles!r}",
            got=smiles,
            expected='valid SMILES such as "CC(=O)Oc1ccccc1C(=O)O"',
            do="correct the string: check brackets, ring closures and valences",
        )
    return molecule
