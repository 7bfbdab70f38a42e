"""The encoder "gin": the graph network that MolCA puts before its language model, from a published checkpoint.

A graph isomorphism network (GIN; Xu et al., ICLR 2019) with bond types, five layers of width 300, in the layout of Hu
et al. (ICLR 2020), which GraphCL (You et al., NeurIPS 2020) kept. MolCA (Liu et al., EMNLP 2023) starts from GraphCL's
`graphcl_80.pth`. PyTorch Geometric is not needed: these lines are held to its numbers by the tests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rdkit import Chem
from torch import Tensor
from torch.nn.functional import batch_norm, linear

from semi.artifacts import load_tensors, sha256_of
from semi.assets import as_safetensors
from semi.errors import ArtifactError, InputError
from semi_plugin_molecules.salts import read_parent
from semi_plugin_molecules.smiles import read_smiles

ATOMS = "x_embedding1.weight"  # (120, d): elements 1 to 118, one for masked atoms and one that is not used
EXTRA = "pip install 'semi-plugin-molecules[hub]'"

# Places in the tables; what they have no place for takes the first one.
CHIRALITY = {"CHI_UNSPECIFIED": 0, "CHI_TETRAHEDRAL_CW": 1, "CHI_TETRAHEDRAL_CCW": 2}
BONDS = {"SINGLE": 0, "DOUBLE": 1, "TRIPLE": 2, "AROMATIC": 3}
DIRECTIONS = {"NONE": 0, "ENDUPRIGHT": 1, "ENDDOWNRIGHT": 2}
SELF_LOOP = 4


class GINEncoder:
    """Mean over a molecule's atoms of the last layer, (n, d)."""

    def __init__(self, weights: Mapping[str, Tensor], fingerprint: str, *, whole: bool = False) -> None:
        """whole: with the counter-ions and solvents of salts and solvates, which `salts.parent` leaves out."""
        self.id = f"molecules/gin-{fingerprint}{'-whole' if whole else ''}@1"
        self.width = weights[ATOMS].shape[1]
        self._read = read_smiles if whole else read_parent
        self._weights = weights

    @torch.inference_mode()
    def encode(self, samples: Sequence[Any]) -> np.ndarray:
        """Embeddings (n, d), float32, of n SMILES strings, one by one, so that none depends on the batch.

        Raises:
            PairsError: a string is not valid SMILES.
        """
        embeddings = np.empty((len(samples), self.width), dtype=np.float32)
        for row, smiles in zip(embeddings, samples, strict=True):
            row[:] = atom_states(self._read(smiles), self._weights).mean(0).numpy()
        return embeddings


def atom_states(molecule: Chem.Mol, weights: Mapping[str, Tensor]) -> Tensor:
    """States (a, d) of a molecule's a atoms after the last layer; every bond is two directed ones, b in all."""
    atoms = [(_element(atom), CHIRALITY.get(atom.GetChiralTag().name, 0)) for atom in molecule.GetAtoms()]
    bonds = [(BONDS.get(b.GetBondType().name, 0), DIRECTIONS.get(b.GetBondDir().name, 0)) for b in molecule.GetBonds()]
    ends = [(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()) for bond in molecule.GetBonds()]
    begin, end = torch.tensor(ends, dtype=torch.long).reshape(-1, 2).T
    source, target = torch.cat((begin, end)), torch.cat((end, begin))  # (b,)
    kind, direction = torch.tensor(bonds, dtype=torch.long).reshape(-1, 2).repeat(2, 1).T  # (b,)
    element, chirality = torch.tensor(atoms).T

    state = weights[ATOMS][element] + weights["x_embedding2.weight"][chirality]  # (a, d)
    layers = depth(weights)
    for layer in range(layers):
        of = _below(weights, f"gnns.{layer}.")
        kinds, directions = of["edge_embedding1.weight"], of["edge_embedding2.weight"]
        heard = state + kinds[SELF_LOOP] + directions[0]
        heard = heard.index_add(0, target, state[source] + kinds[kind] + directions[direction])
        hidden = linear(heard, of["mlp.0.weight"], of["mlp.0.bias"]).relu()
        state = linear(hidden, of["mlp.2.weight"], of["mlp.2.bias"])
        norm = _below(weights, f"batch_norms.{layer}.")
        state = batch_norm(state, norm["running_mean"], norm["running_var"], norm["weight"], norm["bias"])
        state = state.relu() if layer < layers - 1 else state
    return state


def _element(atom: Chem.Atom) -> int:
    return max(int(atom.GetAtomicNum()) - 1, 0)  # dummy atoms have number 0


def _below(weights: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in weights.items() if name.startswith(prefix)}


def depth(weights: Mapping[str, Tensor]) -> int:
    """How many layers there are."""
    return len({name.split(".")[1] for name in weights if name.startswith("gnns.")})


def load_gin(source: str, *, whole: bool = False) -> GINEncoder:
    """The GIN of a checkpoint.

    Args:
        source: a .pth file of tensors (or .safetensors), alone or among those of a larger model; or
            "OWNER/REPOSITORY/FILE" on the hub.
        whole: see GINEncoder.

    Raises:
        InputError: no source, no such file, or the hub does not give it.
        ArtifactError: damaged, or its tensors are not those of such a network.
    """
    path = Path(source) if source and Path(source).is_file() else _from_hub(source)
    tensors = load_tensors(path if path.suffix == ".safetensors" else as_safetensors(path))
    name = next((name for name in tensors if name.endswith(ATOMS)), None)
    if name is None:
        raise _not_gin(path, f"tensors {', '.join(sorted(tensors)[:3])}, ...")
    found = _below(tensors, name.removesuffix(ATOMS))
    wanted = shapes(depth(found), found[ATOMS].shape[-1])
    for tensor, shape in wanted.items():
        if tensor not in found or tuple(found[tensor].shape) != shape:
            got = tuple(found[tensor].shape) if tensor in found else "nothing"
            raise _not_gin(path, f"{tensor}: {got} instead of {shape}")
    return GINEncoder({tensor: found[tensor].float() for tensor in wanted}, sha256_of(path)[:12], whole=whole)


def shapes(layers: int, d: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the tensors of such a network."""
    wanted: dict[str, tuple[int, ...]] = {ATOMS: (120, d), "x_embedding2.weight": (3, d)}
    for layer in range(layers):
        gnn, norm = f"gnns.{layer}.", f"batch_norms.{layer}."
        wanted |= {f"{gnn}mlp.0.weight": (2 * d, d), f"{gnn}mlp.0.bias": (2 * d,)}
        wanted |= {f"{gnn}mlp.2.weight": (d, 2 * d), f"{gnn}mlp.2.bias": (d,)}
        wanted |= {f"{gnn}edge_embedding1.weight": (6, d), f"{gnn}edge_embedding2.weight": (3, d)}
        wanted |= {f"{norm}{part}": (d,) for part in ("weight", "bias", "running_mean", "running_var")}
    return wanted


def _not_gin(path: Path, got: str) -> ArtifactError:
    expected = "a GIN in the layout of MolCA and GraphCL: x_embedding1, gnns.0.mlp.0, batch_norms.0, ..."
    return ArtifactError(f"{path} does not hold a graph network that can be loaded", got=got, expected=expected)


def _from_hub(source: str) -> Path:
    owner, _, rest = source.partition("/")
    repository, _, file = rest.partition("/")
    if not file:
        raise InputError(
            "the encoder gin needs a checkpoint",
            got=source or "none",
            expected="a file, or OWNER/REPOSITORY/FILE on the hub",
            do="name it: --encoder gin:graphcl_80.pth (of the repository of MolCA or GraphCL)",
        )
    try:
        from huggingface_hub import hf_hub_download
    except ImportError as error:
        raise InputError("a file of the hub needs huggingface_hub", got=source, do=EXTRA) from error
    try:
        return Path(hf_hub_download(f"{owner}/{repository}", file))
    except Exception as error:  # not found, no network, an invalid name: one error class each
        raise InputError(
            f"{source} is neither a file nor one that the hub gives",
            got=(str(error) or type(error).__name__).splitlines()[0][:200],
            do="check the name, or bring the file: --encoder gin:FILE",
        ) from error
