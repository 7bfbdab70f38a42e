"""What of a salt or a mixture is encoded."""

from __future__ import annotations

from functools import cache
from typing import Any

from rdkit import Chem, rdBase
from rdkit.Chem.MolStandardize import rdMolStandardize
from rdkit.Chem.SaltRemover import SaltRemover

from semi_plugin_molecules.smiles import read_smiles

ORGANIC = Chem.MolFromSmarts("[#6;!H0,$([#6]~[#6])]")
"""A carbon atom with a hydrogen or another carbon: carbonates and cyanides are inorganic."""


def read_parent(smiles: Any) -> Chem.Mol:
    """The molecule that a SMILES string stands for, without what makes it a salt or a solvate; see `parent`.

    Raises:
        PairsError: not valid SMILES.
    """
    return parent(read_smiles(smiles))


def parent(molecule: Chem.Mol) -> Chem.Mol:
    """A molecule without its counter-ions and solvents.

    * One fragment is returned as it is, charged or not; so is everything without an organic fragment (table salt).
    * Of several, those on RDKit's two lists of counter-ions and solvents go, unless nothing organic would remain
      (sodium acetate is acetic acid; ethanol with ether stays both). Each different fragment counts once: mixtures stay
      mixtures, while two lactates of one calcium are one lactic acid. Charges are neutralised where they can be.
    """
    with rdBase.BlockLogs():
        fragments = Chem.GetMolFrags(molecule, asMols=True)
        if len(fragments) == 1 or not molecule.HasSubstructMatch(ORGANIC):
            return molecule
        kept = [fragment for fragment in fragments if not _listed(fragment)]
        if not any(fragment.HasSubstructMatch(ORGANIC) for fragment in kept):
            kept = [f for f in fragments if f.HasSubstructMatch(ORGANIC) or not _listed(f)]
        distinct = {Chem.MolToSmiles(fragment) for fragment in kept}
        return rdMolStandardize.Uncharger().uncharge(Chem.MolFromSmiles(".".join(sorted(distinct))))


def _listed(fragment: Chem.Mol) -> bool:
    """Whether RDKit knows it as a counter-ion or solvent."""
    remover, salts = _lists()
    if not remover.remove(fragment).GetNumAtoms():
        return True
    return not salts.StripMol(fragment, dontRemoveEverything=False).GetNumAtoms()


@cache
def _lists() -> tuple[Any, Any]:
    """Solvents and ions of MolVS, and the salts of medicinal chemistry (tartrates, maleates, tosylates, ...)."""
    salts: Any = SaltRemover
    return rdMolStandardize.FragmentRemover(leave_last=False), salts()
