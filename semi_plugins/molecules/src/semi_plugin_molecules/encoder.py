"""The encoder "morgan": what a molecule is made of (fingerprint) and what it is like (descriptors), no weights."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from importlib import resources

import numpy as np
from rdkit import Chem, rdBase
from rdkit.Chem import Descriptors, rdFingerprintGenerator

from semi.errors import InputError
from semi_plugin_molecules.salts import read_parent
from semi_plugin_molecules.smiles import read_smiles

BITS, RADIUS = 2048, 2
CLIP = 3.0
"""Standard deviations at which a descriptor is cut, so that one rare group cannot outweigh everything else."""
GROUP_PREFIX = "fr_"  # RDKit's counts of functional groups
CONSTANTS = "descriptors.json"
Descriptor = Callable[[Chem.Mol], float]


class MorganEncoder:
    """Morgan counts and RDKit descriptors as (n, d_enc) float32.

    Three blocks: log(1 + count) of 2048 Morgan features of radius 2 (Rogers and Hahn, J. Chem. Inf. Model. 50, 742
    (2010)); the properties among RDKit's descriptors; its counts of functional groups. Counts and what spreads over
    orders of magnitude go through a signed log(1 + |v|); each is centred, divided by its standard deviation and cut at
    3. Then the blocks are weighted so that their mean squared deviations are 1/3 each. All
    constants come from the train split of the data set "molecules", shipped in `descriptors.json`. A sample's embedding
    depends on that sample alone.
    """

    def __init__(self, *, whole: bool = False) -> None:
        """whole: with the counter-ions and solvents of salts and solvates, which `salts.parent` leaves out."""
        self.id = "molecules/morgan-whole@1" if whole else "molecules/morgan@2"
        self._read = read_smiles if whole else read_parent
        constants = json.loads(resources.files(__package__).joinpath(CONSTANTS).read_text("utf-8"))
        self.morgan_weight = float(constants["morgan_weight"])
        self.names = [row["name"] for row in constants["descriptors"]]
        self.log = np.array([row["log"] for row in constants["descriptors"]], dtype=bool)
        self.centre = np.array([row["centre"] for row in constants["descriptors"]])
        self.deviation = np.array([row["deviation"] for row in constants["descriptors"]])
        is_group = np.array([name.startswith(GROUP_PREFIX) for name in self.names])
        self.weight = np.where(is_group, constants["group_weight"], constants["property_weight"])
        self.width = BITS + len(self.names)
        self.descriptors = descriptor_functions(self.names)

    def encode(self, samples: Sequence[str]) -> np.ndarray:
        """Embeddings (n, d_enc) of n SMILES strings.

        Raises:
            PairsError: a string is not valid SMILES.
        """
        embeddings = np.zeros((len(samples), self.width), dtype=np.float32)
        for row, smiles in zip(embeddings, samples, strict=True):
            molecule = self._read(smiles)
            row[:BITS] = self.morgan_weight * morgan(molecule)
            values = squash(descriptor_values(molecule, self.descriptors), self.log)
            row[BITS:] = self.weight * standardise(values, self.centre, self.deviation)
        return embeddings


def morgan(molecule: Chem.Mol) -> np.ndarray:
    """log(1 + count) of each Morgan feature, (BITS,)."""
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=RADIUS, fpSize=BITS)
    return np.log1p(np.asarray(generator.GetCountFingerprintAsNumPy(molecule), dtype=np.float64))


def descriptor_functions(names: Sequence[str]) -> list[Descriptor]:
    """RDKit's functions of these names.

    Raises:
        InputError: the installed RDKit lacks one; with it, embeddings would not be the same as elsewhere.
    """
    known = dict(Descriptors.descList)
    if missing := [name for name in names if name not in known]:
        raise InputError(
            "the installed RDKit lacks descriptors of the encoder molecules/morgan",
            got=", ".join(missing),
            expected="RDKit 2024.9 or newer",
            do="pip install --upgrade rdkit",
        )
    return [known[name] for name in names]


def descriptor_values(molecule: Chem.Mol, descriptors: Sequence[Descriptor]) -> np.ndarray:
    """Raw values (d,), NaN where RDKit has none (partial charges of unusual elements, for instance)."""
    with rdBase.BlockLogs():
        return np.array([_value(descriptor, molecule) for descriptor in descriptors], dtype=np.float64)


def squash(values: np.ndarray, log: np.ndarray) -> np.ndarray:
    """Signed log(1 + |v|) of the columns that `log` marks, (..., d)."""
    return np.where(log, np.sign(values) * np.log1p(np.abs(values)), values)


def standardise(values: np.ndarray, centre: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    """Deviations from the centre in standard deviations, cut at CLIP, 0 where a value is missing; (..., d)."""
    z = (values - centre) / deviation
    return np.clip(np.where(np.isnan(z), 0.0, z), -CLIP, CLIP)


def _value(descriptor: Descriptor, molecule: Chem.Mol) -> float:
    try:
        return float(descriptor(molecule))
    except (ValueError, ArithmeticError, RuntimeError, IndexError):
        return math.nan
