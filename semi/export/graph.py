"""Encoder, alignment and projector as one ONNX graph."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from semi.alignment import Alignment
from semi.export.network import Network
from semi.projector import Projector

OPSET = 18
"""Of ONNX Runtime 1.14 and later."""
INPUT, OUTPUTS = "sample", ("embedding", "soft_tokens")
TRACED = 64
"""Length of an axis that may have any length, while it is traced."""


class Understanding(nn.Module):
    """An encoder's input -> its embedding (d_enc,), pooled over t, and the soft tokens (t * soft_tokens, d_lm)."""

    def __init__(self, network: nn.Module, alignment: Alignment, projector: Projector) -> None:
        super().__init__()
        self.network, self.projector = network, projector
        self._alignment = alignment

    def forward(self, sample: Tensor) -> tuple[Tensor, Tensor]:
        embedding = self.network(sample)
        rows = embedding.reshape(-1, embedding.shape[-1])  # (t, d_enc)
        soft = self.projector(self._alignment(rows)).reshape(-1, self.projector.d_lm)
        return rows.mean(0), soft


def write_graph(path: Path, network: Network, alignment: Alignment, projector: Projector) -> None:
    """Write the ONNX file; the same weights give the same bytes."""
    module = Understanding(network.module, alignment, projector).cpu().train(False)
    example = torch.zeros([TRACED if isinstance(n, str) else n for n in network.shape], dtype=_dtype(network))
    free = {axis: torch.export.Dim(n, min=2) for axis, n in enumerate(network.shape) if isinstance(n, str)}
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch and onnxscript, about each other's future
        traced = torch.export.export(module, (example,), dynamic_shapes=(free or None,), strict=False)
        program: Any = torch.onnx.export(
            traced,
            input_names=[INPUT],
            output_names=list(OUTPUTS),
            dynamic_shapes=(free or None,),  # for the names of axes
            opset_version=OPSET,
            custom_translation_table={torch.ops.aten._cdist_forward.default: _distances},
            dynamo=True,
            verbose=False,
        )
    _forget_where_from(program.model)
    program.model.metadata_props["input"] = network.meaning
    program.save(path)


def _distances(x: Any, y: Any, p: float, mode: int) -> Any:
    """Euclidean distances (n, d), (k, d) -> (n, k), which the exporter does not know."""
    import onnxscript

    op: Any = onnxscript.opset18  # takes lists of numbers too, which its annotations do not say
    differences = op.Sub(op.Unsqueeze(x, [1]), op.Unsqueeze(y, [0]))
    return op.Sqrt(op.ReduceSum(op.Mul(differences, differences), [2], keepdims=0))


def _dtype(network: Network) -> torch.dtype:
    return {"float32": torch.float32, "uint8": torch.uint8}[network.dtype]


def _forget_where_from(model: Any) -> None:
    """Without the lines and folders of source code that the exporter notes at each node."""
    for thing in (model, model.graph, *model.graph, *model.graph.inputs, *model.graph.outputs):
        thing.metadata_props.clear()
    for node in model.graph:
        for value in node.outputs:
            value.metadata_props.clear()
    for initializer in model.graph.initializers.values():
        initializer.metadata_props.clear()
