"""The modality "molecules": a sample is a SMILES string."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from semi.errors import InputError
from semi.modality import Encoder, Modality
from semi_plugin_molecules.assets import ADMET_AI
from semi_plugin_molecules.encoder import MorganEncoder
from semi_plugin_molecules.smiles import read_smiles


class Molecules(Modality):
    """SMILES strings, encoded by RDKit (no weights, nothing to fetch) or by a network trained on drugs."""

    name = "molecules"
    instruction = "Describe this molecule."
    encoders = ("morgan", "dmpnn")
    assets = (ADMET_AI,)  # of "dmpnn" alone

    def encoder(self, name: str | None = None) -> Encoder:
        """Fingerprint and descriptors ("morgan", the default), or 300 numbers from a D-MPNN ("dmpnn").

        Raises:
            InputError: another name.
            AssetError: the weights of "dmpnn" have not been fetched.
        """
        if name not in (None, *self.encoders):
            raise InputError(
                f"the modality molecules has no encoder {name!r}", got=name, expected=", ".join(self.encoders)
            )
        if name == "dmpnn":
            from semi_plugin_molecules.dmpnn import DMPNNEncoder  # imports torch

            # The first of two ensembles of five. No mean of them: separate trainings share no axes.
            return DMPNNEncoder(ADMET_AI.path("admet_ai/resources/models/admet_classification/model_0.pt"))
        return MorganEncoder()

    def parse(self, sample: Any, *, folder: Path | None = None) -> str:
        """The SMILES string without surrounding blanks.

        Raises:
            PairsError: not valid SMILES.
        """
        read_smiles(sample)
        return str(sample).strip()

    def draw(self, sample: Any) -> str | None:
        """Structural formula as SVG, 240 x 180 pixels; None where RDKit's drawing cannot be loaded."""
        try:
            from rdkit.Chem.Draw import rdMolDraw2D
        except ImportError:  # on Linux it needs libxrender1, which bare systems lack
            return None
        canvas = rdMolDraw2D.MolDraw2DSVG(240, 180)
        rdMolDraw2D.PrepareAndDrawMolecule(canvas, read_smiles(sample))
        canvas.FinishDrawing()
        text = str(canvas.GetDrawingText())
        return text[text.index("<svg") :]  # inline HTML takes no XML declaration
