"""A model's own tensors, given back by a merge, block by block."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

from semi.merge.artifact import ROWS, Artifact, MergedTensor
from semi.merge.checkpoint import Checkpoint
from semi.merge.header import FLOATS
from semi.merge.inventory import Block
from semi.merge.writer import Source


def add(base: Tensor, delta: Tensor) -> Tensor:
    """theta_0 + delta, and where the delta is zero the base's own bits: -0.0 + 0.0 would be 0.0.

    Args:
        base: float32 (...).
        delta: s m v, float32 (...).
    """
    return torch.where(delta == 0, base, base + delta)


def restore(artifact: Artifact, base: Checkpoint, model: str, key: str) -> Iterator[tuple[Block, Tensor]]:
    """theta_0 + s m v of one merged tensor: computed in float32, rounded once to the base's data type.

    Args:
        artifact: the merge.
        base: its base, as `semi.merge.origin.open_base` gives it.
        model: one of `artifact.models`.
        key: a tensor that is merged.

    Yields:
        Blocks in order, and their rows (rows, columns). Rows that only the model has are not among them.

    Raises:
        InputError: there is no such model or tensor, or the tensor is exact.
        ArtifactError: a file has become shorter.
    """
    dtype = FLOATS[base.info(key).dtype]
    scales = artifact.scales(model, key)
    for block, code in artifact.code(key, [model]):
        delta = code.delta(0, None if scales is None else scales[block.start : block.stop])
        yield block, add(base.read(key, block.start, block.stop), delta).to(dtype)


def restored_tensors(artifact: Artifact, base: Checkpoint, model: str) -> list[Source]:
    """All tensors of a model under the names that it gives them, an adapter's under the base's.

    Their bytes are made when they are asked for.
    Merged ones are in the base's data type. Exact ones, and those outside the base, are the model's own, byte for byte.

    Raises:
        InputError: there is no such model.
    """
    exact, kept = artifact.exact(model), artifact.kept(model)
    sources = []
    for key, entry in artifact.entries.items():
        name = artifact.stored_name(model, key) if artifact.models[model].adapter == "none" else key
        if entry.kind == "exact":
            sources.append(_copied(exact if key in exact.keys else base, key, name))
        else:
            sources.append(_merged(artifact, base, model, entry, name))
    return sources + [_copied(kept, key, key) for key in kept.keys]


def _copied(checkpoint: Checkpoint, key: str, name: str) -> Source:
    info = checkpoint.info(key)
    return Source(name, info.dtype, info.shape, info.nbytes, partial(checkpoint.raw, key))


def _merged(artifact: Artifact, base: Checkpoint, model: str, entry: MergedTensor, name: str) -> Source:
    own = extra_rows(artifact, model, entry.key)
    shape = (entry.shape[0] + (0 if own is None else len(own)), *entry.shape[1:])
    dtype = FLOATS[entry.dtype]

    def pieces() -> Iterator[bytes]:
        for _, rows in restore(artifact, base, model, entry.key):
            yield _bytes(rows)
        if own is not None:
            yield _bytes(own.to(dtype))

    return Source(name, entry.dtype, shape, torch.Size(shape).numel() * dtype.itemsize, pieces)


def extra_rows(artifact: Artifact, model: str, key: str) -> Tensor | None:
    """A model's rows below the base's of a tensor, float32 (rows, columns); None where it has none.

    Raises:
        InputError: there is no such model.
    """
    exact = artifact.exact(model)
    return exact.read(key + ROWS) if key + ROWS in exact.keys else None


def _bytes(rows: Tensor) -> bytes:
    return rows.contiguous().view(-1).view(torch.uint8).numpy().tobytes()
