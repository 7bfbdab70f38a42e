"""Every key of every input of a merge in exactly one class; all that fit nowhere are told at once."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal, TypeGuard

import torch
from torch import Tensor

from semi.errors import ArtifactError, InputError
from semi.merge.checkpoint import Checkpoint, first_ten
from semi.merge.config import MergeConfig, Mmer, Ties
from semi.merge.header import FLOATS, TensorInfo
from semi.merge.lora import LoraAdapter, LowRank
from semi.merge.matching import Model, match_keys

Kind = Literal["merged", "exact", "rows"]

BLOCK = 2**22
"""Elements of a block. Fixed, so that no result depends on the memory that is allowed."""

_VOCABULARY = ("*embed*", "*wte*", "*lm_head*")
"""Tensors with a row for each token, which may be more than the base's."""


@dataclass(frozen=True)
class Entry:
    """A tensor of the base.

    Attributes:
        key: its name.
        kind: merged; exact (each model keeps its own); rows (the base's rows merge, a model's further rows are kept).
        names: the key of each model that has or changes it, by the model's name; a LoRA adapter may leave it alone.
    """

    key: str
    kind: Kind
    names: Mapping[str, str]


@dataclass(frozen=True)
class Block:
    """Rows start to stop of a tensor of the base, seen as (shape[0], -1)."""

    key: str
    start: int
    stop: int


def blocks_of(key: str, shape: tuple[int, ...], most: int) -> Iterator[Block]:
    """A tensor's blocks: whole rows, at most `most` elements unless one row has more; none if it has no elements."""
    rows, columns = shape[0], math.prod(shape[1:])
    step = max(1, most // max(1, columns))
    for start in range(0, rows if columns else 0, step):
        yield Block(key, start, min(start + step, rows))


@dataclass(frozen=True)
class Sizes:
    """What a merge moves.

    Attributes:
        elements: entries that are merged.
        read: bytes of one pass over them, the base's and all models'.
        write: bytes of the result at most: vector in fp32, masks, scales, exact tensors and what is kept.
        kept: bytes that are copied as they are: encoders and connectors.
        vector: bytes of the shared vector, of `write`.
    """

    elements: int
    read: int
    write: int
    kept: int
    vector: int


@dataclass(frozen=True)
class Inventory:
    """What becomes of each key.

    Attributes:
        base: the base, open.
        models: the models by name, open.
        entries: the base's tensors by key, sorted.
        kept: keys of each model that the base lacks, sorted, to be copied byte for byte.
        notes: what is allowed but worth telling, such as mixed data types.
    """

    base: Checkpoint
    models: Mapping[str, Model]
    entries: Mapping[str, Entry]
    kept: Mapping[str, tuple[str, ...]]
    notes: tuple[str, ...]

    def of(self, *kinds: Kind) -> Iterator[Entry]:
        """The entries of these kinds, by key."""
        return (entry for entry in self.entries.values() if entry.kind in kinds)

    def blocks(self) -> Iterator[Block]:
        """What is merged, by key and row: whole rows, at most `BLOCK` elements unless one row has more."""
        for entry in self.of("merged", "rows"):
            yield from blocks_of(entry.key, self.base.info(entry.key).shape, BLOCK)

    def workspace(self) -> Tensor:
        """Memory for `deltas` of any block, to use again and again in one thread: ((N + 1) * elements,) in float32."""
        largest = max(
            ((block.stop - block.start) * self.base.info(block.key).columns for block in self.blocks()), default=0
        )
        return torch.empty((len(self.models) + 1) * largest)

    def deltas(self, block: Block, workspace: Tensor | None = None) -> Tensor:
        """theta_i - theta_0 in float32, models in the order of `models`; zero where an adapter changes nothing.

        Args:
            block: one of `blocks()`.
            workspace: what `workspace()` gave; without it, fresh memory costs several times the reading.

        Returns:
            (N, rows, columns), in the workspace: the next call overwrites it.

        Raises:
            ArtifactError: as `Checkpoint.read`.
        """
        shape = (len(self.models) + 1, block.stop - block.start, self.base.info(block.key).columns)
        workspace = torch.empty(math.prod(shape)) if workspace is None else workspace[: math.prod(shape)]
        *deltas, base = workspace.view(shape)
        self.base.read(block.key, block.start, block.stop, out=base)
        for name, delta in zip(self.models, deltas, strict=True):
            self._delta(name, block, base, delta)
        return workspace.view(shape)[:-1]

    def delta(self, name: str, block: Block) -> tuple[Tensor, Tensor]:
        """One model's theta_i - theta_0, and theta_0: float32 (rows, columns), twice.

        Raises:
            ArtifactError: as `Checkpoint.read`.
        """
        base = self.base.read(block.key, block.start, block.stop)
        delta = torch.empty_like(base)
        self._delta(name, block, base, delta)
        return delta, base

    def _delta(self, name: str, block: Block, base: Tensor, out: Tensor) -> None:
        """Read a model's delta into `out`; both (rows, columns)."""
        model, names = self.models[name], self.entries[block.key].names
        info = model.info(names[name]) if name in names else None
        if isinstance(info, TensorInfo) or (info and info.onto):
            model.read(info.key, block.start, block.stop, out=out).sub_(base)
        else:
            out.zero_()
        if isinstance(model, LoraAdapter) and isinstance(info, LowRank):
            out.add_(model.delta(info.key, block.start, block.stop))

    def sizes(self, config: MergeConfig) -> Sizes:
        """For a plan, from headers alone."""
        kept = sum(self.models[name].info(key).nbytes for name, keys in self.kept.items() for key in keys)
        elements, read, write, vector = 0, 0, kept, 0
        bits = {"none": 0, "ternary": 2}.get(config.rule, 1)
        for entry in self.entries.values():
            base, own = self.base.info(entry.key), [self.models[name].info(key) for name, key in entry.names.items()]
            if entry.kind == "exact":
                write += sum(4 * math.prod(info.shape) if isinstance(info, LowRank) else info.nbytes for info in own)
                continue
            count = base.rows * base.columns
            elements += count
            read += base.nbytes + sum(info.nbytes for info in own)
            vector += _vector_bytes(config, len(self.models), count, base.rows)
            # Bits of a block are filled up to a byte, those of masks and of signs.
            blocks = blocks_of(entry.key, base.shape, BLOCK)
            write += len(self.models) * bits * sum(-(-(b.stop - b.start) * base.columns // 8) for b in blocks)
            write += 4 * len(self.models) * {"none": 0, "row": base.rows, "model": 1}[config.scale]
            write += sum(info.nbytes * (info.rows - base.rows) // info.rows for info in own if _extends(info, base))
        return Sizes(elements, read, write + vector, kept, vector)


def _vector_bytes(config: MergeConfig, models: int, count: int, rows: int) -> int:
    """Bytes of a shared vector at most: whole, or the bits of its support and what trimming leaves of the models."""
    values = {"fp32": 4 * count, "bf16": 2 * count, "nf4": -(-count // 2)}[config.merge.tau]
    # Blocks of `nf4` are filled up and have a row at least.
    scales = count // 32 + 3 * rows if config.merge.tau == "nf4" else 0
    if not isinstance(config.merge, Ties | Mmer):
        return values + scales
    # Thresholds round up, and blocks, of a row at least, fill up a byte.
    sparse = math.ceil(models * config.merge.trim * values) + 4 * models + count // 8 + rows
    return min(values, sparse) + scales


def take_inventory(base: Checkpoint, models: Mapping[str, Model], config: MergeConfig) -> Inventory:
    """Put every key of every input in its class, from headers alone.

    Args:
        base: the base.
        models: checkpoints and adapters, opened with their `llm_prefix`, by the names of `config.models`.
        config: the merge.

    Raises:
        ArtifactError: a model lacks a key of the base, has one that neither the base nor `keep` knows, or one of
            another shape; a tensor to merge holds no floats; embeddings are tied here and not there. Names all
            problems: the first ten and how many more.
        InputError: `models` are not those of the configuration.
    """
    names = [model.name for model in config.models]
    if sorted(models) != sorted(names):
        raise InputError("other models than the configuration's", got=", ".join(models), expected=", ".join(names))
    named = config.verify.require_all_keys
    matchings = {model.name: match_keys(base, models[model.name], model, named=named) for model in config.models}
    unplaced = [problem for matching in matchings.values() for problem in matching.problems]
    shapes: list[str] = []
    types: list[str] = []
    notes = [note for matching in matchings.values() for note in matching.notes]
    entries: dict[str, Entry] = {}
    for key in base.keys:
        found = {name: matching.names[key] for name, matching in matchings.items() if key in matching.names}
        own = {name: models[name].info(of_model) for name, of_model in found.items()}
        kind = _kind(base.info(key), own, config.exclude_exact)
        shapes += _other_shapes(base.info(key), own)
        types += _other_types(base.info(key), own) if kind != "exact" else []
        entries[key] = Entry(key, kind, found)
    if unplaced or shapes or types:
        raise _misfit(unplaced, shapes, types, models)
    return Inventory(
        base,
        {name: models[name] for name in names},
        entries,
        {name: matching.kept for name, matching in matchings.items()},
        (*notes, *_mixed_types(base, models, entries)),
    )


def _kind(base: TensorInfo, own: Mapping[str, TensorInfo | LowRank], exclude: Sequence[str]) -> Kind:
    if len(base.shape) < 2 or 0 in base.shape or any(fnmatchcase(base.key, pattern) for pattern in exclude):
        return "exact"
    return "rows" if any(_extends(info, base) for info in own.values()) else "merged"


def _other_shapes(base: TensorInfo, own: Mapping[str, TensorInfo | LowRank]) -> list[str]:
    return [
        f"{name}: {base.key} has shape {info.shape}, in the base {base.shape}"
        for name, info in own.items()
        if info.shape != base.shape and not _extends(info, base)
    ]


def _other_types(base: TensorInfo, own: Mapping[str, TensorInfo | LowRank]) -> list[str]:
    types = {"the base": base.dtype} | {name: info.dtype for name, info in own.items()}
    allowed = ", ".join(FLOATS)
    return [
        f"{name}: {base.key} is {dtype}, not one of {allowed}" for name, dtype in types.items() if dtype not in FLOATS
    ]


def _misfit(
    unplaced: Sequence[str], shapes: Sequence[str], types: Sequence[str], models: Mapping[str, Model]
) -> ArtifactError:
    """What is said of keys that have no place, tensors of other shapes, and tensors that hold no floats."""
    expected, advice = [], []
    if unplaced:
        expected.append("every tensor in the base, or named by `keep`")
        advice.append("check paths and `llm_prefix`, and name encoders and connectors in `keep`")
    if shapes:
        expected.append("the base's shapes, but for further tokens of embeddings and output matrix")
        advice.append("name the base that the models were made of")
    if types:
        expected.append("tensors of floats")
        advice.append("name those that hold something else in `exclude_exact`, or save the model in one of these types")
    told = [*unplaced, *shapes]
    trained = {name: model.trained_on for name, model in models.items() if isinstance(model, LoraAdapter)}
    advice += [
        f"the adapter {name} was trained on {base}, says its adapter_config.json"
        for name, base in trained.items()
        if base and any(problem.startswith(f"{name}: ") for problem in told)
    ]
    return ArtifactError(
        "the models do not fit their base, or one another",
        got=first_ten([*told, *types]),
        expected="; ".join(expected),
        do="; ".join(advice),
    )


def _extends(info: TensorInfo | LowRank, base: TensorInfo) -> TypeGuard[TensorInfo]:
    """Whether a model has the base's rows and further tokens below them."""
    return (
        isinstance(info, TensorInfo)
        and info.shape[1:] == base.shape[1:]
        and bool(base.shape)
        and info.rows > base.rows
        and any(fnmatchcase(base.key, pattern) for pattern in _VOCABULARY)
    )


def _mixed_types(base: Checkpoint, models: Mapping[str, Model], entries: Mapping[str, Entry]) -> list[str]:
    found = Counter(
        (name, models[name].info(key).dtype, base.info(entry.key).dtype)
        for entry in entries.values()
        for name, key in entry.names.items()
        if isinstance(models[name].info(key), TensorInfo)
    )
    return [
        f"{name}: {count:,} tensors are {dtype}, in the base {of_base}"
        for (name, dtype, of_base), count in found.items()
        if dtype != of_base
    ]
