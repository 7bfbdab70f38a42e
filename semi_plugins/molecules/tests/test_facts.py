"""Facts against what a chemist knows."""

from __future__ import annotations

import pytest
from rdkit import Chem
from semi_plugin_molecules.dataset import FAMILIES as KEPT
from semi_plugin_molecules.facts import FAMILIES, Facts, facts_of
from semi_plugin_molecules.smiles import read_smiles

KNOWN = {
    "aspirin": ("CC(=O)Oc1ccccc1C(=O)O", Facts("carboxylic acid", "benzene ring", "medium", ())),
    "benzene": ("c1ccccc1", Facts("hydrocarbon", "benzene ring", "small", ())),
    "ethanol": ("CCO", Facts("alcohol", "open chain", "small", ())),
    "glycine": ("NCC(=O)O", Facts("carboxylic acid", "open chain", "small", ())),
    "chloroform": ("ClC(Cl)Cl", Facts("halide", "open chain", "small", ("chlorine",))),
    "caffeine": ("Cn1c(=O)c2c(ncn2C)n(C)c1=O", Facts("carbonyl compound", "heteroaromatic ring", "large", ())),
    "naphthol": ("Oc1cccc2ccccc12", Facts("phenol", "fused aromatic rings", "medium", ())),
    "cyclohexanone": ("O=C1CCCCC1", Facts("ketone", "aliphatic ring", "small", ())),
    "butyrolactone": ("O=C1CCCO1", Facts("ester", "aliphatic ring", "small", ())),
    "formaldehyde": ("C=O", Facts("aldehyde", "open chain", "small", ())),
    "formic acid": ("OC=O", Facts("carboxylic acid", "open chain", "small", ())),
    "ethyl formate": ("CCOC=O", Facts("ester", "open chain", "small", ())),
    "dimethylformamide": ("CN(C)C=O", Facts("amide", "open chain", "small", ())),
    "urea": ("NC(N)=O", Facts("urea", "open chain", "small", ())),
    "urethane": ("CCOC(N)=O", Facts("carbamate", "open chain", "small", ())),
    "acetic anhydride": ("CC(=O)OC(C)=O", Facts("anhydride", "open chain", "small", ())),
    "acetyl chloride": ("CC(=O)Cl", Facts("acyl halide", "open chain", "small", ("chlorine",))),
    "aniline": ("Nc1ccccc1", Facts("amine", "benzene ring", "small", ())),
    "trimethylamine": ("CN(C)C", Facts("amine", "open chain", "small", ())),
    "nitrobenzene": ("O=[N+]([O-])c1ccccc1", Facts("nitro compound", "benzene ring", "small", ())),
    "anisole": ("COc1ccccc1", Facts("ether", "benzene ring", "small", ())),
    "furan": ("c1ccoc1", Facts("other", "heteroaromatic ring", "small", ())),
    "thiophene": ("c1ccsc1", Facts("other", "heteroaromatic ring", "small", ("sulfur",))),
    "halothane": ("FC(F)(F)C(Cl)Br", Facts("halide", "open chain", "small", ("chlorine", "fluorine", "bromine"))),
    "silane": ("C[Si](C)(C)C", Facts("other", "open chain", "small", ())),
    "hexadecane": ("C" * 16, Facts("hydrocarbon", "open chain", "large", ())),
}


@pytest.mark.parametrize("name", KNOWN)
def test_known_molecules(name: str) -> None:
    smiles, facts = KNOWN[name]
    assert facts_of(read_smiles(smiles)) == facts


def test_facts_do_not_depend_on_how_smiles_are_written() -> None:
    for smiles, facts in KNOWN.values():
        for seed in range(5):
            other = Chem.MolToRandomSmilesVect(read_smiles(smiles), 1, randomSeed=seed)[0]
            assert facts_of(read_smiles(other)) == facts


def test_the_families_of_the_data_set_are_known() -> None:
    assert set(KEPT) <= {name for name, _ in FAMILIES}
    assert all(Chem.MolFromSmarts(smarts) is not None for _, smarts in FAMILIES)
