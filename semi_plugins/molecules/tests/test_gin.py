"""The encoder "gin": its network against PyTorch Geometric, and the files it reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rdkit import Chem
from semi_plugin_molecules.gin import ATOMS, BONDS, CHIRALITY, DIRECTIONS, SELF_LOOP, atom_states, depth, shapes
from semi_plugin_molecules.modality import Molecules
from semi_plugin_molecules.smiles import read_smiles

from semi.artifacts import save_tensors
from semi.errors import ArtifactError, InputError

SMILES = (
    "CC(=O)Oc1ccccc1C(=O)O", "c1ccccc1", "CCO", "C", "[Na+].[Cl-]", "[H][H]", "C/C=C/C", "C/C=C\\C", "C#N",
    "C[C@H](N)C(=O)O", "C[C@@H](N)C(=O)O", "N->[Pt]", "*CC", "C1CC1.CCO", "FS(F)(F)(F)(F)F",
)  # fmt: skip
REFERENCE = Path(__file__).parent / "data" / "gin-pyg-2.8.1.npy"
"""What `by_geometric(made_up_weights())` gives for SMILES with PyTorch Geometric 2.8.1, (15, 12) float32."""


def made_up_weights(layers: int = 3, d: int = 12) -> dict[str, torch.Tensor]:
    """Weights of a small network, from a formula: the same with any torch."""
    made = {}
    for number, (name, shape) in enumerate(shapes(layers, d).items()):
        wave = torch.sin((torch.arange(np.prod(shape), dtype=torch.float64) + 7 * number) ** 1.5).reshape(shape)
        made[name] = (1 + 0.3 * wave if name.endswith(("running_var", "norms.0.weight")) else 0.4 * wave).float()
    return made


def by_geometric(weights: dict[str, torch.Tensor]) -> np.ndarray:
    """Embeddings (n, d) of SMILES by PyTorch Geometric: MolCA's layers, with GraphCL's self-loops."""
    nn, utils = pytest.importorskip("torch_geometric.nn"), pytest.importorskip("torch_geometric.utils")

    class Layer(nn.MessagePassing):  # type: ignore[misc, name-defined]
        def __init__(self, d: int) -> None:
            super().__init__(aggr="add")
            self.mlp = torch.nn.Sequential(torch.nn.Linear(d, 2 * d), torch.nn.ReLU(), torch.nn.Linear(2 * d, d))
            self.edge_embedding1, self.edge_embedding2 = torch.nn.Embedding(6, d), torch.nn.Embedding(3, d)

        def forward(self, x: torch.Tensor, edges: torch.Tensor, attributes: torch.Tensor) -> torch.Tensor:
            edges, _ = utils.add_self_loops(edges, num_nodes=len(x))
            attributes = torch.cat((attributes, torch.tensor([[SELF_LOOP, 0]] * len(x))))
            told = self.edge_embedding1(attributes[:, 0]) + self.edge_embedding2(attributes[:, 1])
            return self.mlp(self.propagate(edges, x=x, edge_attr=told))

        def message(self, x_j: torch.Tensor, edge_attr: torch.Tensor) -> torch.Tensor:
            return x_j + edge_attr

    layers, d = depth(weights), weights[ATOMS].shape[1]
    network = torch.nn.Module()
    network.x_embedding1, network.x_embedding2 = torch.nn.Embedding(120, d), torch.nn.Embedding(3, d)
    network.gnns = torch.nn.ModuleList(Layer(d) for _ in range(layers))
    network.batch_norms = torch.nn.ModuleList(torch.nn.BatchNorm1d(d) for _ in range(layers))
    network.load_state_dict(weights, strict=False)
    network.train(False)
    rows = []
    for smiles in SMILES:
        molecule = read_smiles(smiles)
        x = torch.tensor(
            [[max(a.GetAtomicNum() - 1, 0), CHIRALITY[str(a.GetChiralTag())]] for a in molecule.GetAtoms()]
        )
        edges, attributes = _edges(molecule)
        h = network.x_embedding1(x[:, 0]) + network.x_embedding2(x[:, 1])
        for layer, (gnn, norm) in enumerate(zip(network.gnns, network.batch_norms, strict=True)):
            h = norm(gnn(h, edges, attributes))
            h = h if layer == layers - 1 else h.relu()
        rows.append(nn.global_mean_pool(h, torch.zeros(len(x), dtype=torch.long))[0].detach().numpy())
    return np.stack(rows)


def _edges(molecule: Chem.Mol) -> tuple[torch.Tensor, torch.Tensor]:
    edges: list[Any] = []
    attributes: list[Any] = []
    for bond in molecule.GetBonds():
        told = (BONDS.get(str(bond.GetBondType()), 0), DIRECTIONS.get(str(bond.GetBondDir()), 0))
        edges += [(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()), (bond.GetEndAtomIdx(), bond.GetBeginAtomIdx())]
        attributes += [told, told]
    return torch.tensor(edges, dtype=torch.long).reshape(-1, 2).T, torch.tensor(attributes, dtype=torch.long).reshape(
        -1, 2
    )


@pytest.fixture
def checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """As GraphCL publishes it: a state_dict with the counters of its batch norms."""
    monkeypatch.setenv("SEMI_CACHE", str(tmp_path / "cache"))
    counters = {f"batch_norms.{n}.num_batches_tracked": torch.tensor(3) for n in range(3)}
    torch.save(made_up_weights() | counters, tmp_path / "gin.pth")
    return tmp_path / "gin.pth"


def test_network_gives_the_numbers_of_geometric() -> None:
    found = [atom_states(read_smiles(smiles), made_up_weights()).mean(0).numpy() for smiles in SMILES]
    np.testing.assert_allclose(np.stack(found), np.load(REFERENCE), rtol=1e-4, atol=1e-5)


def test_numbers_are_still_those_of_geometric() -> None:
    np.testing.assert_allclose(by_geometric(made_up_weights()), np.load(REFERENCE), rtol=1e-4, atol=1e-5)


def test_a_checkpoint_is_read(checkpoint: Path) -> None:
    encoder = Molecules().encoder(f"gin-whole:{checkpoint}")
    found = encoder.encode(SMILES)
    assert (found.shape, found.dtype, encoder.width) == ((len(SMILES), 12), np.float32, 12)
    np.testing.assert_allclose(found, np.load(REFERENCE), rtol=1e-4, atol=1e-5)
    assert len(np.unique(found.round(4), axis=0)) == len(SMILES)
    assert encoder.encode([]).shape == (0, 12)


def test_a_part_of_a_larger_model_is_found(checkpoint: Path, tmp_path: Path) -> None:
    larger = {f"graph_encoder.{name}": tensor for name, tensor in made_up_weights().items()}
    save_tensors(tmp_path / "larger.safetensors", larger | {"ln_graph.weight": torch.ones(12)})
    alone, part = (Molecules().encoder(f"gin:{path}") for path in (checkpoint, tmp_path / "larger.safetensors"))
    np.testing.assert_array_equal(part.encode(SMILES), alone.encode(SMILES))


def test_the_published_size() -> None:
    """Five layers of width 300: 1.9 million numbers, as in graphcl_80.pth."""
    assert sum(int(np.prod(shape)) for shape in shapes(5, 300).values()) == 1_860_900


def test_what_is_no_such_network_is_named(checkpoint: Path, tmp_path: Path) -> None:
    torch.save({"atom_encoder.atom_embedding_list.0.weight": torch.ones(2, 2)}, tmp_path / "ogb.pth")
    with pytest.raises(ArtifactError, match=r"ogb\.pth does not hold a graph network"):
        Molecules().encoder(f"gin:{tmp_path / 'ogb.pth'}")
    weights = made_up_weights()
    del weights["gnns.1.mlp.2.bias"]
    torch.save(weights, tmp_path / "less.pth")
    with pytest.raises(ArtifactError) as error:
        Molecules().encoder(f"gin:{tmp_path / 'less.pth'}")
    assert "gnns.1.mlp.2.bias: nothing instead of (12,)" in str(error.value)
    for source in ("", ":gone.pth"):
        with pytest.raises(InputError, match="needs a checkpoint") as wrong:
            Molecules().encoder(f"gin{source}")
        assert "graphcl_80.pth" in str(wrong.value)
