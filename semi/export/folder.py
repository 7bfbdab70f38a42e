"""The folder that `semi export` writes: graph, labels, runner and manifest, compared with PyTorch while it is made."""

from __future__ import annotations

import importlib.util
import json
import math
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from semi.artifacts import open_output, sha256_of, write_bytes
from semi.artifacts.manifest import MANIFEST
from semi.encoding import embed
from semi.errors import InputError, SemiError
from semi.export.graph import OPSET, OUTPUTS, write_graph
from semi.export.network import Network, embedding_network, network_of
from semi.integration import Parts, read_parts
from semi.memory import Memory
from semi.vectors import Vectors

KIND = "onnx"
MODEL, LABELS, RUNNER = FILES = ("model.onnx", "labels.json", "runner.py")
TOLERANCE = 1e-4
"""Largest difference of soft tokens from PyTorch's, relative to the largest of them where that exceeds 1."""
COMPARED = 3
"""Embeddings of the support set that are compared with PyTorch."""
Start = Literal["sample", "embedding"]


def export(
    folder: str | Path, out: str | Path, *, start: Start = "sample", check: Sequence[Any] = (), force: bool = False
) -> dict[str, Any]:
    """Write an integration as ONNX, with a runner that needs numpy and onnxruntime only. No language model is loaded.

    Args:
        folder: the integration.
        out: the folder to write.
        start: what the graph reads: samples (the encoder's network is part of it), or embeddings.
        check: samples, as in a pairs file, to compare with PyTorch; by default the modality's examples, or embeddings
            of the support set where the graph reads these.
        force: replace what semi made in `out`.

    Returns:
        The manifest's `info`; its `parity` is the largest difference of soft tokens from PyTorch's, or None where there
        was no sample to compare.

    Raises:
        ArtifactError: the integration is incomplete or damaged.
        PairsError: a sample of `check` is none.
        InputError: the encoder cannot be exported, or the extra `onnx` is missing.
        OutputError: `out` is taken or cannot be written to.
        SemiError: the graph computes something else than PyTorch.
    """
    _require_extra()
    parts = read_parts(folder)
    if isinstance(parts.modality, Vectors):
        start = "embedding"  # which its samples are
    network = network_of(parts.encoder) if start == "sample" else embedding_network(parts.alignment.d_in)
    cases = _cases(parts, network, start, check)
    config = {"integration": sha256_of(Path(folder) / MANIFEST), "start": start, "opset": OPSET}
    with open_output(out, kind=KIND, config=config, force=force) as output:
        write_graph(output.path / MODEL, network, parts.alignment, parts.projector)
        write_bytes(output.path / LABELS, label_table(parts.memory))
        write_bytes(output.path / RUNNER, resources.files("semi").joinpath("templates", RUNNER).read_bytes())
        info = {
            **config,
            "modality": parts.record.modality,
            "encoder": parts.encoder.id,
            "instruction": parts.record.instruction,
            "language_model": parts.record.language_model,
            "input": {"shape": network.shape, "dtype": network.dtype, "meaning": network.meaning},
            "outputs": OUTPUTS,
            "d_lm": parts.projector.d_lm,
            "parity": _parity(output.path, parts, cases),
        }
        output.finish(FILES, info)
    return info


def label_table(memory: Memory) -> bytes:
    """JSON with labels, embeddings of their samples, spacing, and the distance from which on a sample is unlike them.

    Numbers are as short as float32 allows, and come back exactly; `margin` is null where nothing is ever unlike.
    """
    rows = memory.embeddings.float().numpy()
    table = {
        "labels": memory.labels,
        "embeddings": [[float(str(number)) for number in row] for row in rows],
        "spacing": memory.spacing,
        "margin": memory.limit if math.isfinite(memory.limit) else None,
    }
    return json.dumps(table, ensure_ascii=False, allow_nan=False).encode()


def load_runner(folder: Path) -> ModuleType:
    """The module runner.py of an exported folder."""
    spec = importlib.util.spec_from_file_location("semi_exported_runner", folder / RUNNER)
    if spec is None or spec.loader is None:
        raise ImportError(str(folder / RUNNER))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _require_extra() -> None:
    if missing := [name for name in ("onnxscript", "onnxruntime") if importlib.util.find_spec(name) is None]:
        raise InputError(
            "packages for ONNX are missing", got=f"no {', '.join(missing)}", do="pip install 'semi-llm[onnx]'"
        )


def _cases(parts: Parts, network: Network, start: Start, check: Sequence[Any]) -> list[tuple[np.ndarray, Tensor]]:
    """What is compared: inputs of the graph, and the embeddings (1, d_enc) or (1, t, d_enc) that belong to them."""
    if start == "embedding" and not check:
        return [(network.prepare(row), row[None]) for row in parts.memory.embeddings[:COMPARED]]
    samples = [parts.modality.parse(sample) for sample in check or parts.modality.examples]
    embeddings = [torch.from_numpy(embed(parts.encoder, [sample])) for sample in samples]
    inputs = embeddings if start == "embedding" else samples
    return [(network.prepare(each), embedding) for each, embedding in zip(inputs, embeddings, strict=True)]


def _parity(folder: Path, parts: Parts, cases: Sequence[tuple[np.ndarray, Tensor]]) -> float | None:
    runner = load_runner(folder).Runner(folder, verify=False)  # the manifest comes last
    differences = []
    for array, embedding in cases:
        expected = parts.projector.soft(parts.alignment(embedding))[0].numpy()
        found = runner.read(array)["soft_tokens"]
        scale = max(1.0, float(np.abs(expected).max()))
        differences.append(float(np.abs(found - expected).max()) / scale)
    if not differences:
        return None
    if not max(differences) <= TOLERANCE:  # NaN is no parity
        raise SemiError(
            "the ONNX graph computes something else than PyTorch",
            got=f"soft tokens that differ by {max(differences):.3g}",
            expected=f"at most {TOLERANCE:g}",
            do=f"report it with the versions of torch, onnxscript and onnxruntime; encoder {parts.encoder.id}",
        )
    return max(differences)
