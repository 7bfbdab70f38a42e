"""The D-MPNN encoder: its network against Chemprop, its weights, and what a user sees where these are missing."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from semi_plugin_molecules.assets import ADMET_AI
from semi_plugin_molecules.dmpnn import NAMES, fingerprint, load_weights
from semi_plugin_molecules.modality import Molecules
from semi_plugin_molecules.smiles import read_smiles

from semi.errors import ArtifactError, AssetError, PairsError
from semi.modality import Encoder

SMILES = (
    "CC(=O)Oc1ccccc1C(=O)O", "c1ccccc1", "CCO", "NCC(=O)O", "ClC(Cl)Cl", "C", "[Na+].[Cl-]", "C" * 60, "[H][H]",
    "Cn1c(=O)c2c(ncn2C)n(C)c1=O", "O=[N+]([O-])c1ccccc1", "C[Si](C)(C)C", "[Pt](Cl)(Cl)(N)N", "C[C@H](N)C(=O)O",
    "C/C=C/C", "C/C=C\\C", "C#N", "FS(F)(F)(F)(F)F", "N->[Pt]", "[13CH4]", "[Fe+3]", "Ic1ccccc1",
)  # fmt: skip
CHEMPROP = Path(__file__).parent / "data" / "chemprop-2.2.4.npy"
"""What `chemprop_fingerprints(made_up_weights())` gives for SMILES with Chemprop 2.2.4, (22, 300) float32."""

CHECKPOINT = "admet_ai/resources/models/admet_classification/model_0.pt"
needs_weights = pytest.mark.skipif(not ADMET_AI.present(), reason="run: semi fetch admet-ai")


def made_up_weights() -> dict[str, torch.Tensor]:
    """Weights of the sizes and about the scale of the real ones, from a formula: the same with any torch."""
    shapes = ((300, 86), (300, 300), (300, 372), (300,))
    return {
        name: 0.1 * torch.sin(torch.arange(np.prod(shape), dtype=torch.float64) ** 1.5).reshape(shape).float()
        for name, shape in zip(NAMES, shapes, strict=True)
    }


def chemprop_fingerprints(weights: dict[str, torch.Tensor]) -> np.ndarray:
    """Fingerprints (n, 300) of SMILES by Chemprop itself."""
    featurizers, nn = pytest.importorskip("chemprop.featurizers"), pytest.importorskip("chemprop.nn")
    from chemprop.data import BatchMolGraph

    network = nn.BondMessagePassing().eval()
    network.load_state_dict(weights)
    graph = BatchMolGraph([featurizers.SimpleMoleculeMolGraphFeaturizer()(read_smiles(smiles)) for smiles in SMILES])
    with torch.inference_mode():
        result: torch.Tensor = nn.NormAggregation(norm=100)(network(graph), graph.batch)
    return result.numpy()


def our_fingerprints(weights: dict[str, torch.Tensor]) -> np.ndarray:
    return torch.stack([fingerprint(read_smiles(smiles), weights) for smiles in SMILES]).numpy()


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Molecules().encoder("dmpnn")


def test_network_gives_the_numbers_of_chemprop() -> None:
    np.testing.assert_allclose(our_fingerprints(made_up_weights()), np.load(CHEMPROP), rtol=1e-5, atol=1e-5)


def test_numbers_are_still_those_of_chemprop() -> None:
    np.testing.assert_allclose(chemprop_fingerprints(made_up_weights()), np.load(CHEMPROP), rtol=1e-5, atol=1e-5)


@pytest.mark.assets
@needs_weights
def test_encoder_gives_the_numbers_of_chemprop(encoder: Encoder) -> None:
    theirs = chemprop_fingerprints(load_weights(ADMET_AI.path(CHECKPOINT)))
    np.testing.assert_allclose(encoder.encode(SMILES), theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.assets
@needs_weights
def test_embeddings(encoder: Encoder) -> None:
    x = encoder.encode(SMILES)
    assert (x.shape, x.dtype) == ((len(SMILES), 300), np.float32)
    assert np.isfinite(x).all()
    assert len(np.unique(x.round(5), axis=0)) == len(SMILES)
    assert encoder.encode([]).shape == (0, 300)


@pytest.mark.assets
@needs_weights
def test_a_molecule_does_not_feel_its_batch(encoder: Encoder) -> None:
    alone = np.concatenate([Molecules().encoder("dmpnn").encode([smiles]) for smiles in SMILES])
    assert encoder.encode(SMILES).tobytes() == alone.tobytes()


@pytest.mark.assets
@needs_weights
def test_likeness(encoder: Encoder) -> None:
    aspirin, rewritten, butanol, pentanol, benzoate = encoder.encode(
        ["CC(=O)Oc1ccccc1C(=O)O", "O=C(O)c1ccccc1OC(C)=O", "CCCCO", "CCCCCO", "CCOC(=O)c1ccccc1"]
    )
    np.testing.assert_allclose(aspirin, rewritten, atol=1e-5)
    assert np.linalg.norm(butanol - pentanol) < 0.5 * np.linalg.norm(butanol - benzoate)


@pytest.mark.assets
@needs_weights
@pytest.mark.parametrize("smiles", ["C1CC", "CC(", "benzene"])
def test_invalid_smiles_are_named(smiles: str, encoder: Encoder, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(PairsError) as caught:
        encoder.encode(["CCO", smiles])
    assert smiles in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_weights_that_were_not_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEMI_CACHE", str(tmp_path))
    with pytest.raises(AssetError, match="semi fetch admet-ai"):
        Molecules().encoder("dmpnn")


class Hostile:
    """Makes a folder where it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.folder),)


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path) -> None:
    torch.save({"state_dict": Hostile(tmp_path / "made")}, tmp_path / "model.pt")
    with pytest.raises(ArtifactError, match=r"model\.pt cannot be read"):
        load_weights(tmp_path / "model.pt")
    assert not (tmp_path / "made").exists()
