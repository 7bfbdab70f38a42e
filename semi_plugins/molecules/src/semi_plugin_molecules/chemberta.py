"""The encoder "chemberta": a transformer that reads SMILES as text (extra `hub`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from rdkit import Chem

from semi.errors import InputError
from semi.modality import Encoder
from semi_plugin_molecules.salts import read_parent
from semi_plugin_molecules.smiles import read_smiles

DEFAULT = "seyonec/ChemBERTa-zinc-base-v1"
EXTRA = "pip install 'semi-plugin-molecules[hub]'"


class ChemBERTa:
    """ChemBERTa (Chithrananda et al., arXiv 2010.09885) or another text encoder on RDKit's canonical SMILES.

    Canonical, so that an embedding belongs to the molecule and not to how its string is written.
    """

    def __init__(self, texts: Encoder, *, whole: bool = False) -> None:
        """whole: with the counter-ions and solvents of salts and solvates, which `salts.parent` leaves out."""
        self.id = texts.id.replace("@", "-whole@") if whole else texts.id
        self.width = texts.width
        self._texts = texts
        self._read: Callable[[Any], Chem.Mol] = read_smiles if whole else read_parent

    def encode(self, samples: Sequence[Any]) -> np.ndarray:
        """Embeddings (n, width) of length 1, float32, of n SMILES strings.

        Raises:
            PairsError: a string is not valid SMILES.
        """
        return self._texts.encode([str(Chem.MolToSmiles(self._read(smiles))) for smiles in samples])


def load_chemberta(source: str, *, whole: bool = False) -> ChemBERTa:
    """ChemBERTa, or the text encoder of a folder or hub id; see `semi_plugin_text.sentence`.

    Raises:
        InputError: the extra is not installed, or the model cannot be loaded.
        ArtifactError: its files lack weights or are damaged.
    """
    try:
        from semi_plugin_text.sentence import SentenceEncoder
    except ImportError as error:
        raise InputError("the encoder chemberta needs semi-plugin-text", got=error, do=EXTRA) from error
    return ChemBERTa(SentenceEncoder(source or DEFAULT, modality="molecules", name="chemberta"), whole=whole)
