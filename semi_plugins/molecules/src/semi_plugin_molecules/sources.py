"""Any form of a sample to SMILES: SMILES, InChI, and files in MDL's formats."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from rdkit import Chem

from semi.errors import PairsError
from semi_plugin_molecules.sdf import read_block, records_of
from semi_plugin_molecules.smiles import read_smiles, sanitised

FILE = re.compile(r"(.+\.(?:sdf|sd|mol))(?:#(\d+))?", re.IGNORECASE | re.DOTALL)  # no SMILES ends like this
INCHI_KEY = re.compile(r"[A-Z]{14}-[A-Z]{10}-[A-Z]")


def smiles_of(sample: Any, folder: Path | None = None) -> str:
    """The sample as SMILES: SMILES as they stand, anything else as RDKit's canonical SMILES with stereochemistry.

    Args:
        sample: SMILES, "InChI=...", or an .sdf or .mol file; "drugs.sdf#3" is the third record of one with several.
        folder: what relative paths start from.

    Raises:
        PairsError: none of these, no such file or record, or not a molecule.
    """
    text = str(sample) if isinstance(sample, Path) else sample
    text = text.strip() if isinstance(text, str) else ""
    if found := FILE.fullmatch(text):
        return _written(_record((folder or Path()) / found[1], None if found[2] is None else int(found[2])))
    if isinstance(sample, Path):
        raise PairsError(f"{sample} is of an unknown kind", got=sample.suffix or "no suffix", expected=".sdf or .mol")
    if text.startswith("InChI="):
        return _written(sanitised(lambda sanitise: _from_inchi(text, sanitise), f"invalid InChI {text!r}", text))
    if INCHI_KEY.fullmatch(text):
        raise PairsError("an InChIKey cannot be turned into a molecule", got=text, do="give its InChI or SMILES")
    read_smiles(sample)
    return text


def _record(path: Path, number: int | None) -> Chem.Mol:
    """One molecule of a file: record `number` counted from 1; None: the only one."""
    records = records_of(path)
    if number is None and len(records) > 1:
        raise PairsError(
            f"{path} holds several molecules",
            got=f"{len(records)} records",
            expected=f"which one: {path.name}#1 to {path.name}#{len(records)}",
            do="name the record, or make pairs of all of them: semi_plugin_molecules.sdf.sdf_pairs",
        )
    place = 1 if number is None else number
    if not 1 <= place <= len(records):
        raise PairsError(f"{path} has no such record", got=place, expected=f"1 to {len(records)}")
    return read_block(records[place - 1].block, f"record {place} of {path}")


def _from_inchi(text: str, sanitise: bool) -> Chem.Mol | None:
    read: Any = Chem.MolFromInchi  # RDKit's Python part has no types
    molecule: Chem.Mol | None = read(text, sanitize=sanitise, removeHs=sanitise)
    return molecule


def _written(molecule: Chem.Mol) -> str:
    """Canonical SMILES, read once more: what a pairs file keeps must be readable."""
    smiles = str(Chem.MolToSmiles(molecule))
    read_smiles(smiles)
    return smiles
