"""SMILES in, embeddings and drawings out."""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rdkit import rdBase
from semi_plugin_molecules import plugin
from semi_plugin_molecules.encoder import BITS, MorganEncoder, descriptor_functions
from semi_plugin_molecules.modality import Molecules

from semi.errors import InputError, PairsError
from semi.modality import Encoder

SMILES = (
    "CC(=O)Oc1ccccc1C(=O)O", "c1ccccc1", "CCO", "NCC(=O)O", "ClC(Cl)Cl", "C", "[Na+].[Cl-]", "C" * 60,
    "Cn1c(=O)c2c(ncn2C)n(C)c1=O", "O=[N+]([O-])c1ccccc1", "C[Si](C)(C)C", "[Pt](Cl)(Cl)(N)N", "C[C@H](N)C(=O)O",
)  # fmt: skip


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Molecules().encoder()


def test_embeddings_are_finite_and_of_comparable_size(encoder: Encoder) -> None:
    x = encoder.encode(SMILES)
    assert x.shape == (len(SMILES), encoder.width)
    assert x.dtype == np.float32
    assert np.isfinite(x).all()
    assert np.linalg.norm(x, axis=1).max() < 6  # salts, metals and long chains included
    assert np.abs(x[:, BITS:]).max() < 0.5  # no descriptor speaks alone


@settings(max_examples=15)
@given(batch=st.lists(st.sampled_from(SMILES), min_size=1, max_size=6))
def test_a_molecule_does_not_feel_its_batch(batch: list[str]) -> None:
    encoder = MorganEncoder()
    together = encoder.encode(batch)
    alone = np.concatenate([MorganEncoder().encode([smiles]) for smiles in batch])
    assert together.tobytes() == alone.tobytes()


def test_an_embedding_belongs_to_the_molecule_not_to_the_string(encoder: Encoder) -> None:
    one, other = encoder.encode(["CC(=O)Oc1ccccc1C(=O)O", "O=C(O)c1ccccc1OC(C)=O"])
    np.testing.assert_allclose(one, other, atol=1e-5)


def test_likeness(encoder: Encoder) -> None:
    butanol, pentanol, benzoate = encoder.encode(["CCCCO", "CCCCCO", "CCOC(=O)c1ccccc1"])
    assert np.linalg.norm(butanol - pentanol) < 0.5 * np.linalg.norm(butanol - benzoate)


def test_nothing_to_encode(encoder: Encoder) -> None:
    assert encoder.encode([]).shape == (0, encoder.width)


@pytest.mark.parametrize("smiles", ["C1CC", "CC(", "c1ccccc", "C(C)(C)(C)(C)C", "benzene", "CXC"])
def test_invalid_smiles_are_named(smiles: str, encoder: Encoder, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(PairsError) as caught:
        Molecules().parse(smiles)
    assert smiles in str(caught.value)
    with pytest.raises(PairsError, match="invalid SMILES"):
        encoder.encode(["CCO", smiles])
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("sample", ["", "  ", None, 7, ["C"]])
def test_what_is_no_smiles_is_refused(sample: object) -> None:
    with pytest.raises(PairsError, match="SMILES string"):
        Molecules().parse(sample)


def test_rdkit_keeps_its_own_log_settings() -> None:
    before = rdBase.LogStatus()
    with pytest.raises(PairsError):
        Molecules().parse("C1CC")
    assert rdBase.LogStatus() == before


def test_parse_keeps_the_string() -> None:
    assert Molecules().parse(" C1=CC=CC=C1\n") == "C1=CC=CC=C1"


def test_drawing_is_svg_for_inline_html() -> None:
    drawing = Molecules().draw("CC(=O)Oc1ccccc1C(=O)O")
    assert drawing.startswith("<svg")
    assert ElementTree.fromstring(drawing).tag.endswith("svg")


def test_unknown_encoder_and_missing_descriptors_are_named() -> None:
    with pytest.raises(InputError, match="'unimol'"):
        Molecules().encoder("unimol")
    with pytest.raises(InputError) as caught:
        descriptor_functions(["qed", "Phlogiston"])
    assert "Phlogiston" in str(caught.value)


def test_hooks_answer_to_their_names_only() -> None:
    modality, data = plugin.semi_modality("molecules"), plugin.semi_dataset("molecules")
    assert modality is not None
    assert data is not None
    assert (modality.name, data.name, data.modality) == ("molecules",) * 3
    assert plugin.semi_modality("text") is None
    assert plugin.semi_dataset("text") is None


def test_no_picture_where_drawing_cannot_be_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a bare Debian, rdkit.Chem.Draw lacks libXrender; everything else works."""
    monkeypatch.setitem(sys.modules, "rdkit.Chem.Draw", None)
    assert Molecules().draw("CCO") is None
