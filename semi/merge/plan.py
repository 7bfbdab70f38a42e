"""What a merge will take, from headers alone: tensors, bytes, memory, disk."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

from semi.errors import InputError, OutputError
from semi.merge.budget import bits_to_spend
from semi.merge.config import MergeConfig
from semi.merge.inputs import Inputs, open_inputs
from semi.merge.inventory import Inventory, take_inventory
from semi.merge.lora import LoraAdapter
from semi.merge.search import read_prompts, readings
from semi.merge.statistics import passes

RUNTIME = 208 << 20
"""Anonymous memory of Python and torch before the first block, and of copies in pieces; measured 150 to 190 MB."""

FLOAT = 4
"""Bytes."""
_NAME, _SEGMENTS, _SETTINGS = 2 << 10, 64, 16 << 10
"""Bytes in words for a tensor, for a block of it, and for the whole merge."""


def make_plan(config: MergeConfig, out: Path) -> dict[str, Any]:
    """What `semi merge run` would do, JSON-able. Of the models nothing is read but headers.

    Args:
        config: the merge.
        out: where it would be written; need not exist.

    Returns:
        "tensors" {kind: {"tensors", "entries"}}, "kept" {model: tensors} and "beside" {model: {file: tensors}} (outside
        the base, in the model's own weights and in files beside them), "read" (bytes of all passes) and "passes",
        "write" (bytes of the result at most), "disk" {"needed", "free"}, "memory" {"needed", "allowed", "prefetch"},
        "notes".

    Raises:
        ArtifactError: as `open_inputs` and `take_inventory`.
        InputError: as `require_possible`.
    """
    with open_inputs(config) as inputs:
        inventory = take_inventory(inputs.base, inputs.models, config)
        require_possible(inventory, config)
        sizes = inventory.sizes(config)
        kinds: dict[str, dict[str, int]] = {}
        for entry in inventory.entries.values():
            found = kinds.setdefault(entry.kind, {"tensors": 0, "entries": 0})
            found["tensors"] += 1
            found["entries"] += math.prod(inventory.base.info(entry.key).shape)
        times = passes(config) + readings(config) + (config.budget is not None) + 1
        return {
            "method": config.merge.method,
            "models": list(inventory.models),
            "tensors": kinds,
            "kept": {name: len(keys) for name, keys in inventory.kept.items()},
            "beside": {name: dict(own) for name, own in inputs.beside.items()},
            "passes": times,
            "read": times * sizes.read + inputs.nbytes + sizes.kept,
            "write": sizes.write + inputs.copied_nbytes,
            "disk": {"needed": disk_needed(inventory, inputs, config), "free": disk_free(out)},
            "memory": {
                "needed": memory_needed(inventory, config, ahead=prefetches(inventory, config)),
                "allowed": config.io.max_memory,
                "prefetch": prefetches(inventory, config),
            },
            "notes": [*inventory.notes, *inputs.notes, *_notes(inventory, config)],
        }


def _notes(inventory: Inventory, config: MergeConfig) -> list[str]:
    if not config.unsettled:
        return []
    shapes = [inventory.base.info(entry.key).shape for entry in inventory.of("merged", "rows")]
    held = 2 * FLOAT * sum(math.prod(shape) for shape in shapes)
    return [f"lambda: auto holds the base and the shared vector in memory, {_mb(held)} beside io.max_memory"]


def memory_needed(inventory: Inventory, config: MergeConfig, *, ahead: bool) -> int:
    """Bytes of anonymous memory at most, by construction.

    In blocks of float32: deltas and base in one workspace, or in two to read ahead; masks, and the choice of trimming,
    of a quarter of a block for each model; the shared vector; four at a time in the making, of one model after another
    (magnitudes, sums, support and values), and two for an expanded B @ A.
    """
    block = inventory.workspace().numel() * FLOAT // (len(inventory.models) + 1)
    models = len(inventory.models)
    workspaces = (models + 1) * (1 + ahead)
    low_rank = 2 if any(isinstance(model, LoraAdapter) for model in inventory.models.values()) else 0
    return RUNTIME + math.ceil(block * (workspaces + models / 2 + 1 + 4 + low_rank))


def prefetches(inventory: Inventory, config: MergeConfig) -> bool:
    """Whether the memory that is allowed suffices to read the next block while one is worked on."""
    return memory_needed(inventory, config, ahead=True) <= config.io.max_memory


def require_possible(inventory: Inventory, config: MergeConfig) -> None:
    """Refuse before work what cannot come to an end.

    Raises:
        InputError: too little memory is allowed, a budget of bits is too small for anything, or lambda is to be found
            and there are no prompts.
    """
    require_memory(memory_needed(inventory, config, ahead=False), config.io.max_memory, "io.max_memory")
    if config.budget is not None:
        bits_to_spend(inventory, config)
    if config.mask.prompts is not None:
        read_prompts(config.mask.prompts)


def require_memory(needed: int, allowed: int, setting: str) -> None:
    """Refuse what cannot keep to the memory that is allowed.

    Args:
        needed: bytes at most.
        allowed: bytes.
        setting: what says so.

    Raises:
        InputError: it is too little.
    """
    if needed > allowed:
        raise InputError(
            "the models cannot be merged in so little memory",
            got=f"{setting} of {allowed / 1e6:,.2f} MB",
            expected=f"{_mb(needed)} or more",
            do=f"allow more (`{setting}`), or merge fewer models at a time",
        )


def disk_needed(inventory: Inventory, inputs: Inputs, config: MergeConfig) -> int:
    """Bytes on the disk at most, at the worst moment: the result, the journal, and what is there twice."""
    sizes = inventory.sizes(config)
    return sizes.write + twice(inventory, config, sizes.write) + in_words(inventory) + inputs.copied_nbytes


def twice(inventory: Inventory, config: MergeConfig, most: int) -> int:
    """Bytes at most that are on the disk in two places: a file that is made of a part file, and a tensor.

    A vector is written in one form and may then be written in another. A tensor of several parts may begin in one file
    and end in the next, and its room in the part file comes free with the first of them.

    Args:
        inventory: of the merge.
        config: of the merge.
        most: bytes of all that is written.
    """
    infos = [inventory.base.info(entry.key) for entry in inventory.of("merged", "rows")]
    largest = max((info.rows * info.columns for info in infos), default=0)
    tensor = FLOAT * largest + largest // 8 + max((info.rows for info in infos), default=0)  # with its support
    scales = FLOAT * sum(info.rows + 1 for info in infos)  # in one file, whatever the shards
    return min(most, max(config.io.shard, tensor, scales)) + tensor


def in_words(inventory: Inventory) -> int:
    """Bytes at most of all that is no tensor: headers, journal, merge.json, manifest. Measured 1 kB a name."""
    names = len(inventory.entries) + sum(len(keys) for keys in inventory.kept.values())
    blocks = sum(1 for _ in inventory.blocks())
    return (len(inventory.models) + 1) * (names * _NAME + blocks * _SEGMENTS) + _SETTINGS


def disk_free(folder: Path) -> int:
    """Bytes free where a folder is, or will be."""
    while not folder.exists():
        folder = folder.parent if folder != folder.parent else Path.cwd()
    return shutil.disk_usage(folder).free


def require_disk(needed: int, folder: Path) -> None:
    """Refuse before work what will not fit. What an interrupted run left in the folder counts as free.

    Raises:
        OutputError: says how much is needed and free.
    """
    there = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    free = disk_free(folder) + there
    if free < needed:
        raise OutputError(
            f"{folder} has too little free space for the merge",
            got=f"{_mb(free)} free",
            expected=f"{_mb(needed)}",
            do="free some space, or name a folder on another disk; a smaller `io.shard` takes less on the way",
        )


def _mb(count: int) -> str:
    return f"{math.ceil(count / 1e6):,} MB"
