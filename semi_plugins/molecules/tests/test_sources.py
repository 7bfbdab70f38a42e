"""InChI, SDF and molfiles as samples, salts and mixtures, and what RDKit refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import rdDepictor
from semi_plugin_molecules.encoder import MorganEncoder
from semi_plugin_molecules.modality import Molecules
from semi_plugin_molecules.salts import parent
from semi_plugin_molecules.sdf import records_of, sdf_pairs
from semi_plugin_molecules.smiles import read_smiles

from semi.errors import InputError, PairsError
from semi.pairs_io import read_pairs

DRUGS = {
    "aspirin": ("CC(=O)Oc1ccccc1C(=O)O", "solid"),
    "alanine": ("C[C@H](N)C(=O)O", "solid"),
    "2-butene": ("C/C=C/C", "gas"),
}
DOUBLE_BOND = """
  by hand

  2  1  0  0  0  0  0  0  0  0999 V2000
    0.0000    0.0000    0.0000 C   0  0  0  0  0  0  0  0  0  0  0  0
    1.0000    0.0000    0.0000 F   0  0  0  0  0  0  0  0  0  0  0  0
  1  2  2  0
M  END
"""
"""A fluorine with a double bond."""


def molfile(smiles: str, title: str, *, v3000: bool = False) -> str:
    molecule = Chem.MolFromSmiles(smiles)
    rdDepictor.Compute2DCoords(molecule)
    molecule.SetProp("_Name", title)
    return str(Chem.MolToMolBlock(molecule, forceV3000=v3000))


def write_sdf(path: Path, *, end: str = "\n") -> Path:
    records = [
        f"{molfile(smiles, name)}>  <STATE>  ({number})\n{state}\n\n> <NOTE>\ntwo\nlines\n\n$$$$\n"
        for number, (name, (smiles, state)) in enumerate(DRUGS.items(), start=1)
    ]
    path.write_bytes("".join(records).replace("\n", end).encode())
    return path


@pytest.mark.parametrize("smiles", [smiles for smiles, _ in DRUGS.values()])
@pytest.mark.parametrize("form", ["inchi", "mol", "v3000", "sdf"])
def test_every_form_gives_the_molecule(form: str, smiles: str, tmp_path: Path) -> None:
    """The SMILES that comes of it, and so the embedding, is that of the SMILES it was made from."""
    if form == "inchi":
        sample = Chem.MolToInchi(Chem.MolFromSmiles(smiles))
    else:
        sample = "one.sdf" if form == "sdf" else "one.mol"
        text = molfile(smiles, "one", v3000=form == "v3000") + ("$$$$\n" if form == "sdf" else "")
        (tmp_path / sample).write_text(text)
    found = Molecules().parse(sample, folder=tmp_path)
    assert found == Chem.CanonSmiles(smiles)
    assert Molecules().parse(found) == found
    encoder = MorganEncoder()
    assert encoder.encode([found]).tobytes() == encoder.encode([Chem.CanonSmiles(smiles)]).tobytes()


def test_hydrogens_of_a_file_are_made_implicit(tmp_path: Path) -> None:
    with_hydrogens = Chem.AddHs(Chem.MolFromSmiles("CCO"))
    rdDepictor.Compute2DCoords(with_hydrogens)
    (tmp_path / "ethanol.MOL").write_text(Chem.MolToMolBlock(with_hydrogens))
    assert Molecules().parse(tmp_path / "ethanol.MOL") == "CCO"


def test_a_record_of_several(tmp_path: Path) -> None:
    write_sdf(tmp_path / "drugs.sdf")
    assert Molecules().parse("drugs.sdf#2", folder=tmp_path) == "C[C@H](N)C(=O)O"
    with pytest.raises(PairsError, match="holds several molecules") as error:
        Molecules().parse("drugs.sdf", folder=tmp_path)
    assert "drugs.sdf#1 to drugs.sdf#3" in str(error.value)
    for number in (0, 4):
        with pytest.raises(PairsError, match="no such record"):
            Molecules().parse(f"drugs.sdf#{number}", folder=tmp_path)
    (tmp_path / "pairs.csv").write_text("sample,caption\ndrugs.sdf#1,a painkiller\ndrugs.sdf#3,a gas\nCCO,ethanol\n")
    pairs = read_pairs(tmp_path / "pairs.csv", modality=Molecules()).pairs
    assert [pair.sample for pair in pairs] == [DRUGS["aspirin"][0], "C/C=C/C", "CCO"]


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    path = write_sdf(tmp_path / "drugs.sdf")
    assert len(records_of(path)) == 3
    path.write_text(molfile("CCO", "ethanol"))
    assert Molecules().parse(path) == "CCO"


@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["unix", "dos"])
def test_pairs_of_a_whole_file(tmp_path: Path, end: str) -> None:
    path = write_sdf(tmp_path / "drugs.sdf", end=end)
    pairs = sdf_pairs(path, "{TITLE} is a {STATE}", attributes=("STATE",))
    assert [pair.caption for pair in pairs] == ["aspirin is a solid", "alanine is a solid", "2-butene is a gas"]
    assert [pair.sample for pair in pairs] == [Chem.CanonSmiles(smiles) for smiles, _ in DRUGS.values()]
    assert pairs[2].attributes == {"STATE": "gas"}
    assert records_of(path)[0].fields["NOTE"] == "two\nlines"
    with pytest.raises(PairsError, match=r"record 1 of .*drugs.sdf has no data field 'COLOUR'") as error:
        sdf_pairs(path, "{COLOUR}")
    assert "STATE" in str(error.value)


@pytest.mark.parametrize(
    ("sample", "problem"),
    [
        ("C(C)(C)(C)(C)C", "AtomValenceException: Explicit valence for atom # 0 C, 5, is greater than permitted"),
        ("CCc1cccc1", "KekulizeException: Can't kekulize mol.  Unkekulized atoms: 2 3 4 5 6"),
        ("c1ccccc1CN(C)(C)C", "AtomValenceException: Explicit valence for atom # 7 N, 4, is greater than permitted"),
        ("double.mol", "AtomValenceException: Explicit valence for atom # 1 F, 2, is greater than permitted"),
    ],
)
def test_what_rdkit_has_against_a_molecule_is_told(
    sample: str, problem: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "double.mol").write_text(DOUBLE_BOND)
    with pytest.raises(PairsError) as error:
        Molecules().parse(sample, folder=tmp_path)
    assert sample in error.value.what
    assert error.value.got == problem
    assert "atoms are counted from 0" in str(error.value)
    assert capfd.readouterr() == ("", "")


def test_a_pairs_file_names_the_line_and_the_problem(tmp_path: Path) -> None:
    (tmp_path / "pairs.jsonl").write_text(
        '{"sample": "CCO", "caption": "a"}\n{"sample": "FC(F)(F)(F)F", "caption": "b"}\n'
    )
    with pytest.raises(PairsError) as error:
        read_pairs(tmp_path / "pairs.jsonl", modality=Molecules())
    assert "line 2: invalid SMILES 'FC(F)(F)(F)F'" in error.value.what
    assert "AtomValenceException: Explicit valence for atom # 1 C, 5" in str(error.value.got)


@pytest.mark.parametrize(
    ("sample", "says"),
    [
        ("InChI=1S/garbage", "invalid InChI"),
        ("BSYNRYMUTXBXSQ-UHFFFAOYSA-N", "InChIKey cannot be turned"),
        ("gone.sdf", "gone.sdf cannot be read"),
        ("empty.sdf", "holds no molecule"),
        ("text.mol", "record 1 of .*text.mol is no valid molecule"),
        (Path("drugs.xyz"), "of an unknown kind"),
    ],
)
def test_what_is_no_molecule_is_refused(
    sample: object, says: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty.sdf").write_text("\n\n")
    (tmp_path / "text.mol").write_text("a shopping list\nmilk\n")
    with pytest.raises(PairsError, match=says):
        Molecules().parse(sample, folder=tmp_path)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("sample", "encoded"),
    [
        ("CC(=O)Oc1ccccc1C(=O)[O-].[Na+]", "CC(=O)Oc1ccccc1C(=O)O"),
        ("CC(C)NCC(O)COc1cccc2ccccc12.Cl", "CC(C)NCC(O)COc1cccc2ccccc12"),
        ("CN1CCC[C@H]1c1cccnc1.OC(=O)[C@H](O)[C@@H](O)C(=O)O", "CN1CCC[C@H]1c1cccnc1"),
        ("Cn1c(=O)c2c(ncn2C)n(C)c1=O.O", "Cn1c(=O)c2c(ncn2C)n(C)c1=O"),
        ("CC(=O)[O-].[Na+]", "CC(=O)O"),
        ("CC(O)C(=O)[O-].CC(O)C(=O)[O-].[Ca+2]", "CC(O)C(=O)O"),
        ("C[N+](C)(C)CCO.[Cl-]", "C[N+](C)(C)CCO"),
        # mixtures and complexes stay what they are
        ("CCO.CCOCC", "CCO.CCOCC"),
        ("Cn1c(=O)c2c(ncn2C)n(C)c1=O.CC(=O)Nc1ccc(O)cc1", "Cn1c(=O)c2c(ncn2C)n(C)c1=O.CC(=O)Nc1ccc(O)cc1"),
        ("[Na+].[Cl-]", "[Na+].[Cl-]"),
        ("[K+].[K+].[O-]C([O-])=O", "[K+].[K+].[O-]C([O-])=O"),
        # one fragment is never touched
        ("C[NH3+]", "C[NH3+]"),
        ("Cl", "Cl"),
    ],
)
def test_salts_and_mixtures(sample: str, encoded: str) -> None:
    assert Chem.MolToSmiles(parent(read_smiles(sample))) == Chem.CanonSmiles(encoded)
    assert Chem.MolToSmiles(parent(parent(read_smiles(sample)))) == Chem.CanonSmiles(encoded)
    salt, plain = MorganEncoder().encode([sample, encoded])
    np.testing.assert_allclose(salt, plain, atol=1e-5)


def test_a_salt_may_be_kept() -> None:
    modality = Molecules()
    parts, whole = modality.encoder("morgan"), modality.encoder("morgan-whole")
    assert (parts.id, whole.id) == ("molecules/morgan@2", "molecules/morgan-whole@1")
    salt, free = "CC(=O)Oc1ccccc1C(=O)[O-].[Na+]", "CC(=O)Oc1ccccc1C(=O)O"
    assert np.abs(np.subtract(*whole.encode([salt, free]))).max() > 0.1
    assert parts.encode([free]).tobytes() == whole.encode([free]).tobytes()
    assert modality.parse(salt) == salt
    assert modality.draw(salt) != modality.draw(free)


@pytest.mark.parametrize("name", ["morgan:x", "whole", "morgan-whole-whole", "dmpnn:file"])
def test_unknown_encoders_name_the_known(name: str) -> None:
    with pytest.raises(InputError) as error:
        Molecules().encoder(name)
    assert "morgan, dmpnn, gin, chemberta" in str(error.value)
