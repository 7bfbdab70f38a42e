"""The modality "molecules": a sample is SMILES, InChI, or an SDF or molfile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from semi.errors import InputError
from semi.modality import Encoder, Modality
from semi_plugin_molecules.assets import ADMET_AI
from semi_plugin_molecules.encoder import MorganEncoder
from semi_plugin_molecules.smiles import read_smiles
from semi_plugin_molecules.sources import smiles_of

WHOLE = "-whole"
"""After an encoder's name: salts and solvates as they stand, and not their parent molecule."""


class Molecules(Modality):
    """Molecules, encoded by RDKit (no weights, nothing to fetch), or by a network trained on drugs or of the hub."""

    name = "molecules"
    instruction = "Describe this molecule."
    encoders = ("morgan", "dmpnn", "gin", "chemberta")
    assets = (ADMET_AI,)  # of "dmpnn" alone
    examples = (
        "CC(=O)Oc1ccccc1C(=O)O",
        "InChI=1S/C8H10N4O2/c1-10-4-9-6-5(10)7(13)12(3)8(14)11(6)2/h4H,1-3H3",
        "CC(C)NCC(O)COc1cccc2ccccc12.Cl",
    )

    def encoder(self, name: str | None = None) -> Encoder:
        """Fingerprint and descriptors ("morgan", the default), 300 numbers from a D-MPNN ("dmpnn"), or a hub's model.

        "gin:FILE" reads a GIN as MolCA has one (300), "chemberta:NAME" another text encoder than ChemBERTa (768).
        "-whole" after any of the names, as in "morgan-whole", encodes salts and solvates as they stand.

        Raises:
            InputError: another name, a model that cannot be loaded, or an extra that is missing.
            AssetError: the weights of "dmpnn" have not been fetched.
            ArtifactError: a model's file is damaged or of another kind.
        """
        kind, _, source = (name or self.encoders[0]).partition(":")
        whole, kind = kind.endswith(WHOLE), kind.removesuffix(WHOLE)
        if kind not in self.encoders or (source and kind not in ("gin", "chemberta")):
            expected = f"{', '.join(self.encoders)}, gin:FILE, chemberta:FOLDER; any of them with {WHOLE}"
            raise InputError(f"the modality molecules has no encoder {name!r}", got=name, expected=expected)
        if kind == "dmpnn":
            from semi_plugin_molecules.dmpnn import DMPNNEncoder  # imports torch

            # The first of two ensembles of five. No mean of them: separate trainings share no axes.
            checkpoint = ADMET_AI.path("admet_ai/resources/models/admet_classification/model_0.pt")
            return DMPNNEncoder(checkpoint, whole=whole)
        if kind == "gin":
            from semi_plugin_molecules.gin import load_gin

            return load_gin(source, whole=whole)
        if kind == "chemberta":
            from semi_plugin_molecules.chemberta import load_chemberta

            return load_chemberta(source, whole=whole)
        return MorganEncoder(whole=whole)

    def parse(self, sample: Any, *, folder: Path | None = None) -> str:
        """The sample as SMILES: SMILES without surrounding blanks; of InChI and files RDKit's canonical SMILES.

        SMILES and not a path, also for files: the hash of pairs then covers the molecule, wherever its file lies.

        Raises:
            PairsError: no molecule; says what RDKit has against it.
        """
        return smiles_of(sample, folder)

    def draw(self, sample: Any) -> str | None:
        """Structural formula as SVG, 240 x 180 pixels; None where RDKit's drawing cannot be loaded."""
        try:
            from rdkit.Chem.Draw import rdMolDraw2D
        except ImportError:  # on Linux it needs libxrender1, which bare systems lack
            return None
        canvas = rdMolDraw2D.MolDraw2DSVG(240, 180)
        rdMolDraw2D.PrepareAndDrawMolecule(canvas, read_smiles(smiles_of(sample)))
        canvas.FinishDrawing()
        text = str(canvas.GetDrawingText())
        return text[text.index("<svg") :]  # inline HTML takes no XML declaration
