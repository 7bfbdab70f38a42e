"""What a merge will take, from headers alone: tensors, bytes, memory, disk."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

from semi.errors import InputError, OutputError
from semi.merge.config import MergeConfig
from semi.merge.inputs import Inputs, open_inputs
from semi.merge.inventory import Inventory, take_inventory
from semi.merge.lora import LoraAdapter
from semi.merge.search import readings
from semi.merge.statistics import passes

RUNTIME = 208 << 20
"""Anonymous memory of Python and torch before the first block, and of copies in pieces; measured 150 to 190 MB."""

_FLOAT = 4


def make_plan(config: MergeConfig, out: Path) -> dict[str, Any]:
    """What `semi merge run` would do, JSON-able. Nothing is read but headers.

    Args:
        config: the merge.
        out: where it would be written; need not exist.

    Returns:
        "tensors" {kind: {"tensors", "entries"}}, "kept" {model: tensors}, "read" (bytes of all passes) and "passes",
        "write" (bytes of the result at most), "disk" {"needed", "free"}, "memory" {"needed", "allowed", "prefetch"},
        "notes".

    Raises:
        ArtifactError: as `open_inputs` and `take_inventory`.
    """
    with open_inputs(config) as inputs:
        inventory = take_inventory(inputs.base, inputs.models, config)
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
            "passes": times,
            "read": times * sizes.read + inputs.nbytes + sizes.kept,
            "write": sizes.write + _copies(inputs),
            "disk": {"needed": disk_needed(inventory, inputs, config), "free": disk_free(out)},
            "memory": {
                "needed": memory_needed(inventory, config, ahead=prefetches(inventory, config)),
                "allowed": config.io.max_memory,
                "prefetch": prefetches(inventory, config),
            },
            "notes": [*inventory.notes, *_notes(inventory, config)],
        }


def _notes(inventory: Inventory, config: MergeConfig) -> list[str]:
    if not config.unsettled:
        return []
    shapes = [inventory.base.info(entry.key).shape for entry in inventory.of("merged", "rows")]
    held = 2 * _FLOAT * sum(math.prod(shape) for shape in shapes)
    return [f"lambda: auto holds the base and the shared vector in memory, {_mb(held)} beside io.max_memory"]


def memory_needed(inventory: Inventory, config: MergeConfig, *, ahead: bool) -> int:
    """Bytes of anonymous memory at most, by construction.

    In blocks of float32: deltas and base in one workspace, or in two to read ahead; masks, and the choice of trimming,
    of a quarter of a block for each model; the shared vector; four at a time in the making, of one model after another
    (magnitudes, sums, support and values), and two for an expanded B @ A.
    """
    block = inventory.workspace().numel() * _FLOAT // (len(inventory.models) + 1)
    models = len(inventory.models)
    workspaces = (models + 1) * (1 + ahead)
    low_rank = 2 if any(isinstance(model, LoraAdapter) for model in inventory.models.values()) else 0
    return RUNTIME + math.ceil(block * (workspaces + models / 2 + 1 + 4 + low_rank))


def prefetches(inventory: Inventory, config: MergeConfig) -> bool:
    """Whether the memory that is allowed suffices to read the next block while one is worked on."""
    return memory_needed(inventory, config, ahead=True) <= config.io.max_memory


def require_memory(inventory: Inventory, config: MergeConfig) -> None:
    """Refuse a merge that cannot keep to `io.max_memory`.

    Raises:
        InputError: even without reading ahead.
    """
    needed = memory_needed(inventory, config, ahead=False)
    if needed > config.io.max_memory:
        raise InputError(
            f"{len(inventory.models)} models cannot be merged in so little memory",
            got=f"io.max_memory of {_mb(config.io.max_memory)}",
            expected=f"{_mb(needed)} or more",
            do="allow more, or merge fewer models at a time",
        )


def disk_needed(inventory: Inventory, inputs: Inputs, config: MergeConfig) -> int:
    """Bytes on the disk at most: the result, the bits of the supports, and one file or tensor that is there twice."""
    sizes = inventory.sizes(config)
    largest = max((_FLOAT * math.prod(inventory.base.info(key).shape) for key in inventory.entries), default=0)
    return sizes.write + sizes.elements // 8 + min(sizes.write, max(config.io.shard, largest)) + _copies(inputs)


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


def _copies(inputs: Inputs) -> int:
    return sum(path.stat().st_size for paths in inputs.copied.values() for path in paths.values())


def _mb(count: int) -> str:
    return f"{math.ceil(count / 1e6):,} MB"
