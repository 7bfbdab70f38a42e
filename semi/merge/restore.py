"""A model's own tensors, given back by a merge, block by block."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import torch
from torch import Tensor

from semi.merge.artifact import Artifact
from semi.merge.checkpoint import Checkpoint
from semi.merge.codes import Code
from semi.merge.description import ROWS, MergedTensor
from semi.merge.header import FLOATS
from semi.merge.inventory import Block
from semi.merge.writer import Source


def add(base: Tensor, delta: Tensor) -> Tensor:
    """theta_0 + delta, and where the delta is zero the base's own bits: -0.0 + 0.0 would be 0.0.

    Args:
        base: float32 (...).
        delta: float32 (...).
    """
    return torch.where(delta == 0, base, base + delta)


def deltas(artifact: Artifact, key: str, models: Sequence[str] | None = None) -> Iterator[tuple[Block, Tensor]]:
    """What models get of one merged tensor: s m v, and the residual of one that was added later.

    Args:
        artifact: the merge.
        key: a tensor that is merged.
        models: whose; None: of all, in the order of `artifact.models`.

    Yields:
        Blocks in order, and float32 (N, rows, columns).

    Raises:
        InputError: there is no such model or tensor, or the tensor is exact.
        ArtifactError: a file has become shorter.
    """
    for block, code, own in _one_by_one(artifact, key, models):
        found = torch.empty(len(models or artifact.models), *code.shared.shape)
        for i, delta in enumerate(own):
            found[i] = delta
        yield block, found


def supports(artifact: Artifact, key: str) -> Iterator[tuple[Block, Tensor, Tensor]]:
    """Which entries of one merged tensor models get anything for, in less memory than `deltas` takes.

    Yields:
        Blocks in order, the shared vector, float32 (rows, columns), and bool (N, rows, columns).

    Raises:
        InputError, ArtifactError: as `deltas`.
    """
    for block, code, own in _one_by_one(artifact, key):
        found = torch.empty(len(artifact.models), *code.shared.shape, dtype=torch.bool)
        for i, delta in enumerate(own):
            torch.ne(delta, 0, out=found[i])
        yield block, code.shared, found


def _one_by_one(
    artifact: Artifact, key: str, models: Sequence[str] | None = None
) -> Iterator[tuple[Block, Code, Iterator[Tensor]]]:
    """Blocks of one merged tensor, their code, and what each model gets of it; all of these must be asked for."""
    models = list(artifact.models) if models is None else models
    scales = [artifact.scales(model, key) for model in models]
    residuals = [artifact.residual(model, key) for model in models]
    for block, code in artifact.code(key, models):
        yield block, code, _own_parts(block, code, scales, residuals)


def _own_parts(
    block: Block,
    code: Code,
    scales: Sequence[Tensor | None],
    residuals: Sequence[Iterator[tuple[Block, Tensor]] | None],
) -> Iterator[Tensor]:
    for i, (scale, residual) in enumerate(zip(scales, residuals, strict=True)):
        delta = code.delta(i, None if scale is None else scale[block.start : block.stop])
        yield delta if residual is None else delta + next(residual)[1]


def restore(artifact: Artifact, base: Checkpoint, model: str, key: str) -> Iterator[tuple[Block, Tensor]]:
    """theta_0 + s m v, and a residual, of one merged tensor: computed in float32, rounded once to the base's data type.

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
    for block, [delta] in deltas(artifact, key, [model]):
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
