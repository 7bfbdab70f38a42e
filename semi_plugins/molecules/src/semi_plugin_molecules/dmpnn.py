"""The encoder "dmpnn": what a network that was trained on measured properties of drugs makes of a molecule.

A directed message-passing network (D-MPNN; Yang et al., J. Chem. Inf. Model. 59, 3370 (2019)) in the sizes and with the
features of Chemprop v2 (Heid et al., J. Chem. Inf. Model. 64, 9 (2024)). Chemprop itself is 28 packages with 235 MB
and takes 9 s to import, torch 2; here are the lines of it that a fingerprint needs, held to its numbers by the tests.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rdkit import Chem
from torch import Tensor
from torch.nn.functional import linear

from semi.artifacts import load_tensors
from semi.assets import as_safetensors
from semi_plugin_molecules.salts import read_parent
from semi_plugin_molecules.smiles import read_smiles

WIDTH = 300
ROUNDS = 2  # of messages; Chemprop counts the first states too and calls it depth 3
NORM = 100.0

# Chemprop's choices, in its order. One more place stands for any other value, except for the type of a bond.
ELEMENTS = (*range(1, 37), 53)  # hydrogen to krypton, and iodine
CHARGES = (-1, -2, 1, 2, 0)
HYBRIDIZATIONS = ("S", "SP", "SP2", "SP2D", "SP3", "SP3D", "SP3D2")
BOND_TYPES = ("SINGLE", "DOUBLE", "TRIPLE", "AROMATIC")
D_BOND = 14

NAMES = ("W_i.weight", "W_h.weight", "W_o.weight", "W_o.bias")
"""Of the weights, below "message_passing."; (300, 86), (300, 300), (300, 372) and (300,)."""

# What the checkpoint names beside its tensors: settings, metrics and losses of the training. All of it is read as
# plain dictionaries, so no code of these packages runs or has to be there; any other name in the file is refused.
STAND_INS = (
    "chemprop.nn.agg.NormAggregation",
    "chemprop.nn.message_passing.base.BondMessagePassing",
    "chemprop.nn.metrics.BinaryAUPRC",
    "chemprop.nn.metrics.BinaryAUROC",
    "chemprop.nn.predictors.BinaryClassificationFFN",
    "chemprop.nn.transforms.GraphTransform",
    "lightning.fabric.utilities.data.AttributeDict",
    "torch.nn.modules.activation.ReLU",
    "torch.nn.modules.linear.Identity",
    "torchmetrics.metric.jit_distributed_available",
    "torchmetrics.utilities.data.dim_zero_cat",
)


class DMPNNEncoder:
    """Fingerprints (n, 300) of ADMET-AI 2 (Swanson et al., Bioinformatics 40, btae416 (2024)).

    The network was trained on 31 yes-or-no properties of drugs (absorption, metabolism, toxicity, ...). The fingerprint
    is what its last layers decide from: the sum of the atoms' final states over 100. Chirality goes in as RDKit's tag,
    which depends on how the SMILES string is written; all else depends on the molecule only.
    """

    width = WIDTH

    def __init__(self, checkpoint: Path, *, whole: bool = False) -> None:
        """whole: with the counter-ions and solvents of salts and solvates, which `salts.parent` leaves out."""
        self.id = "molecules/dmpnn-whole@1" if whole else "molecules/dmpnn@2"
        self._read = read_smiles if whole else read_parent
        self._weights = load_weights(checkpoint)

    @torch.inference_mode()
    def encode(self, samples: Sequence[str]) -> np.ndarray:
        """Embeddings (n, 300), float32, of n SMILES strings.

        Molecules go through one by one (3 ms each), so that none depends on its neighbours in the last digit.

        Raises:
            PairsError: a string is not valid SMILES.
        """
        embeddings = np.empty((len(samples), self.width), dtype=np.float32)
        for row, smiles in zip(embeddings, samples, strict=True):
            row[:] = fingerprint(self._read(smiles), self._weights).numpy()
        return embeddings


def fingerprint(molecule: Chem.Mol, weights: dict[str, Tensor]) -> Tensor:
    """The fingerprint (300,) of a molecule; a and b count its atoms and bonds.

    Every bond is two directed ones. A directed bond v -> w hears from those that end in v, except from w -> v.
    """
    atoms = torch.tensor([atom_features(atom) for atom in molecule.GetAtoms()])  # (a, 72)
    b = molecule.GetNumBonds()
    bonds = torch.tensor([bond_features(bond) for bond in molecule.GetBonds()]).reshape(b, D_BOND).repeat(2, 1)
    ends = [(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()) for bond in molecule.GetBonds()]
    begin, end = torch.tensor(ends, dtype=torch.long).reshape(b, 2).T
    source, target = torch.cat((begin, end)), torch.cat((end, begin))  # (2b,): the opposite of bond i is i + b or i - b

    first = linear(torch.cat((atoms[source], bonds), 1), weights["W_i.weight"])  # (2b, 300)
    state = first.relu()
    for _ in range(ROUNDS):
        message = _arriving(state, target, len(atoms))[source] - state.roll(b, 0)  # (2b, 300)
        state = (first + linear(message, weights["W_h.weight"])).relu()
    seen = torch.cat((atoms, _arriving(state, target, len(atoms))), 1)  # (a, 372)
    return linear(seen, weights["W_o.weight"], weights["W_o.bias"]).relu().sum(0) / NORM


def _arriving(state: Tensor, target: Tensor, atoms: int) -> Tensor:
    """Sum (a, 300) of the states (2b, 300) of the directed bonds that end in each atom."""
    return state.new_zeros(atoms, WIDTH).index_add(0, target, state)


def atom_features(atom: Chem.Atom) -> list[float]:
    """The 72 numbers that Chemprop's "v2" scheme has for an atom."""
    return [
        *_one_hot(atom.GetAtomicNum(), ELEMENTS),
        *_one_hot(atom.GetTotalDegree(), range(6)),
        *_one_hot(atom.GetFormalCharge(), CHARGES),
        *_one_hot(int(atom.GetChiralTag()), range(4)),
        *_one_hot(atom.GetTotalNumHs(), range(5)),
        *_one_hot(atom.GetHybridization().name, HYBRIDIZATIONS),
        float(atom.GetIsAromatic()),
        0.01 * atom.GetMass(),
    ]


def bond_features(bond: Chem.Bond) -> list[float]:
    """Chemprop's 14 numbers for a bond; the first says that there is none."""
    return [
        0.0,
        *_one_hot(bond.GetBondType().name, BOND_TYPES)[:-1],
        float(bond.GetIsConjugated()),
        float(bond.IsInRing()),
        *_one_hot(int(bond.GetStereo()), range(6)),
    ]


def _one_hot(value: Any, choices: Sequence[Any]) -> list[float]:
    """1 at the place of the value among the choices, or in one more place behind them."""
    place = choices.index(value) if value in choices else len(choices)
    return [float(i == place) for i in range(len(choices) + 1)]


def load_weights(checkpoint: Path) -> dict[str, Tensor]:
    """The weights of NAMES from a checkpoint of ADMET-AI 2. Nothing in the file is run: see STAND_INS.

    Raises:
        ArtifactError: damaged, or it names something that is not expected.
        OutputError: the cache, where the converted tensors are kept, cannot be written to.
    """
    with torch.serialization.safe_globals([(OrderedDict, name) for name in STAND_INS]):
        converted = as_safetensors(checkpoint, entry="state_dict")
    tensors = load_tensors(converted)
    return {name: tensors[f"message_passing.{name}"] for name in NAMES}
