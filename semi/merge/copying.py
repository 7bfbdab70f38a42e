"""What a merge copies: exact tensors, rows beyond the base's, encoders and connectors, and configuration files."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch

from semi.artifacts.files import replacing
from semi.merge.artifact import FILES
from semi.merge.checkpoint import Checkpoint
from semi.merge.description import ROWS
from semi.merge.header import FLOATS, TensorInfo, itemsize
from semi.merge.inventory import Inventory, blocks_of
from semi.merge.lora import LoraAdapter, LowRank
from semi.merge.matching import Model
from semi.merge.writer import Source, in_shards, write_tensors

_PIECE = 1 << 18
"""Elements of an adapter's exact tensor computed at once, unless one row has more."""


def copy_tensors(inventory: Inventory, folder: Path, most: int) -> list[str]:
    """Write exact-MODEL.safetensors and kept-MODEL-00001.safetensors, ... into a folder, those that are not there yet.

    Args:
        inventory: of the merge.
        folder: of the artifact.
        most: bytes of one file of kept tensors.

    Returns:
        The files' names.

    Raises:
        OutputError: the disk is full or the place cannot be written to.
        ArtifactError: an input is cut short.
    """
    files: dict[str, list[Source]] = {}
    for name, model in inventory.models.items():
        if exact := list(_exact(inventory, name)):
            files[f"exact-{name}.safetensors"] = exact
        shards = in_shards((_raw(model.info(key), model) for key in inventory.kept[name]), most)
        files |= {f"kept-{name}-{number:05d}.safetensors": shard for number, shard in enumerate(shards, 1)}
    for name, sources in files.items():
        if not (folder / name).exists():
            write_tensors(folder / name, sources)
    return list(files)


def copy_files(copied: Mapping[str, Mapping[str, Path]], folder: Path) -> list[str]:
    """Copy each model's other files into folder / "files" / MODEL, afresh.

    Returns:
        Their names below the folder.

    Raises:
        OutputError: the disk is full or the place cannot be written to.
    """
    shutil.rmtree(folder / FILES, ignore_errors=True)  # an interrupted run may have left parts of files
    names = []
    for model, paths in copied.items():
        for name, path in paths.items():
            copy_file(path, folder / FILES / model / name)
            names.append(f"{FILES}/{model}/{name}")
    return names


def copy_file(source: Path, target: Path) -> None:
    """Copy a file of any size, and make the folder that it comes to.

    Raises:
        OutputError: the disk is full or the place cannot be written to; `target` is as it was.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with open(source, "rb") as read, replacing(target, size=source.stat().st_size) as file:
        shutil.copyfileobj(read, file)


def _exact(inventory: Inventory, name: str) -> Iterator[Source]:
    """A model's exact tensors, and its rows beyond the base's, by the base's keys."""
    model = inventory.models[name]
    for entry in inventory.of("exact", "rows"):
        if name not in entry.names:
            continue
        info, base = model.info(entry.names[name]), inventory.base.info(entry.key)
        if entry.kind == "exact" and isinstance(info, LowRank) and isinstance(model, LoraAdapter):
            yield _applied(inventory.base, entry.key, model, info)
        elif entry.kind == "exact" and isinstance(info, TensorInfo):
            yield _raw(info, model, entry.key)
        elif isinstance(info, TensorInfo) and info.rows > base.rows:
            yield _further_rows(info, model, entry.key, base.rows)


def _raw(info: TensorInfo | LowRank, model: Model, name: str | None = None) -> Source:
    """A tensor as it is, under the base's key or its own stored name."""
    return Source(name or info.stored, info.dtype, info.shape, info.nbytes, lambda: model.raw(info.key))


def _further_rows(info: TensorInfo, model: Model, key: str, rows: int) -> Source:
    start = rows * info.columns * itemsize(info.dtype)
    shape = (info.rows - rows, *info.shape[1:])
    return Source(key + ROWS, info.dtype, shape, info.nbytes - start, lambda: model.raw(info.key, start))


def _applied(base: Checkpoint, key: str, model: LoraAdapter, change: LowRank) -> Source:
    """An exact tensor that an adapter changes by LoRA: base + delta, in the base's data type."""
    info = base.info(key)

    def pieces() -> Iterator[bytes]:
        for block in blocks_of(key, info.shape, _PIECE):
            origin = (model, change.key) if change.onto else (base, key)
            rows = origin[0].read(origin[1], block.start, block.stop)
            rows += model.delta(change.key, block.start, block.stop)
            yield rows.to(FLOATS[info.dtype]).view(torch.uint8).numpy().tobytes()

    return Source(key, info.dtype, info.shape, info.nbytes, pieces)
