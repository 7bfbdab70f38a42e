"""Every kind of alignment as ONNX."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from semi.alignment import PCA, Alignment, Chain, FeatureSelection, Identity, Nystroem, Standardise, ZeroPad
from semi.export.graph import Understanding, write_graph
from semi.export.network import Network, embedding_network
from semi.export.recurrent import GRULayer
from semi.projector import Projector

ort = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

X = torch.randn(16, 9, generator=torch.Generator().manual_seed(0))
ALIGNMENTS = [
    ZeroPad(9, 12),
    Standardise.fit(X),
    FeatureSelection.fit(X, 5),
    Chain([FeatureSelection.fit(X, 5), Standardise.fit(X[:, :5], unit="sample")]),
    PCA.fit(X, 5),
    Nystroem.fit(X, "rbf"),
    Nystroem.fit(X.abs(), "tanimoto"),
]


@pytest.mark.parametrize("alignment", ALIGNMENTS, ids=lambda a: getattr(a, "kernel", a.kind))
def test_the_graph_keeps_within_a_float64_reference(alignment: Alignment, tmp_path: Path) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        projector = Projector(alignment.d_out, 24, 8, soft_tokens=2).requires_grad_(False)
    write_graph(tmp_path / "model.onnx", embedding_network(9), alignment, projector)
    session = ort.InferenceSession(str(tmp_path / "model.onnx"))
    reference = Projector(**projector.sizes).double().requires_grad_(False)
    reference.load_state_dict(projector.state_dict())
    for t in (1, 5):
        rows = torch.randn(t, 9, generator=torch.Generator().manual_seed(t))
        embedding, soft = session.run(["embedding", "soft_tokens"], {"sample": rows.numpy()})
        np.testing.assert_allclose(embedding, rows.double().mean(0), atol=1e-6)
        np.testing.assert_allclose(soft, reference.soft(alignment(rows.double())[None])[0], atol=1e-5)
        expected = Understanding(torch.nn.Identity(), alignment, projector)(rows)[1]
        np.testing.assert_allclose(soft, expected, atol=1e-5)


def test_a_recurrent_layer_of_any_length(tmp_path: Path) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        layer = GRULayer(torch.nn.GRU(3, 5)).requires_grad_(False)
        projector = Projector(5, 6, 4).requires_grad_(False)
    network = Network(layer, np.asarray, ("T", 3), "float32", "three numbers at a time")
    write_graph(tmp_path / "model.onnx", network, Identity(5), projector)
    session = ort.InferenceSession(str(tmp_path / "model.onnx"))
    (read,) = session.get_inputs()
    assert (read.shape, session.get_modelmeta().custom_metadata_map) == (["T", 3], {"input": network.meaning})
    for t in (1, 4, 90):
        x = torch.randn(t, 3, generator=torch.Generator().manual_seed(t))
        mean, soft = session.run(["embedding", "soft_tokens"], {read.name: x.numpy()})
        np.testing.assert_allclose(mean, layer(x).mean(0), atol=1e-6)
        np.testing.assert_allclose(soft, projector(layer(x)), atol=1e-6)
