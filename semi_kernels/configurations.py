"""Launch configurations: shipped as JSON by GPU, chosen without ever failing for a GPU nobody has tried."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from typing import Any

import torch

from semi_kernels.tiles import ceil_div

KIB = 1024


@dataclass(frozen=True)
class Blocks:
    """Tile and launch of a kernel."""

    BM: int
    BN: int
    BK: int
    num_warps: int
    num_stages: int


@dataclass(frozen=True)
class Gpu:
    """What a configuration depends on."""

    name: str
    capability: tuple[int, int]
    multiprocessors: int
    shared: int
    """Bytes of shared memory a program may use."""
    backend: str = "cuda"
    """Or "hip"."""


H200 = Gpu("NVIDIA H200", (9, 0), 132, 227 * KIB)
_stand_in = H200


def gpu(device: torch.device) -> Gpu:
    """The GPU behind a torch device; for one that has none, an H200 or what `standing_in` says."""
    return _gpu(device) if device.type == "cuda" else _stand_in


@cache
def _gpu(device: torch.device) -> Gpu:
    found = torch.cuda.get_device_properties(device)
    shared = getattr(found, "shared_memory_per_block_optin", 0) or 64 * KIB
    backend = "hip" if torch.version.hip else "cuda"
    return Gpu(found.name, (found.major, found.minor), found.multi_processor_count, shared, backend)


@contextmanager
def standing_in(on: Gpu) -> Iterator[None]:
    """Tensors that are on no GPU get this one's configurations: the interpreter's, and those that are only compiled."""
    global _stand_in
    before, _stand_in = _stand_in, on
    try:
        yield
    finally:
        _stand_in = before


@cache
def shipped() -> tuple[dict[str, Any], ...]:
    """Every configuration file: {"gpu", "backend", "capability", "measured", "fused_lora": [entry, ...]}.

    An entry holds for weights that are "dense" or "4-bit" and up to `rows` rows, the first that fits: its BM, BK,
    num_warps, num_stages, and BN as a list, widest first, from which `few_rows` takes one. measured: false where nobody
    has timed it on that GPU.
    """
    folder = resources.files("semi_kernels") / "configs"
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".json")), key=lambda f: f.name)
    return tuple(json.loads(file.read_text()) for file in files)


@cache
def nearest(name: str, capability: tuple[int, int], backend: str = "cuda") -> dict[str, Any]:
    """The configuration of this GPU, else of its maker's of the nearest compute capability (the older one on a tie)."""
    files = [file for file in shipped() if file["backend"] == backend]
    for file in files:
        if file["gpu"].casefold() == name.casefold():
            return file
    major, minor = capability
    return min(files, key=lambda f: (abs(f["capability"][0] - major), abs(f["capability"][1] - minor), f["capability"]))


def few_rows(on: Gpu, *, M: int, N: int, layout: str, itemsize: int, rank: int, straddling: bool = False) -> Blocks:
    """Blocks of the one-launch kernel.

    rank: columns of A and of the reflections together, padded. straddling: blocks of a 4-bit weight do, so that every
    entry has an address of its own. BN is the largest shipped one that still gives every multiprocessor a program; BK
    shrinks until the tiles in flight fit into shared memory.
    """
    entries = nearest(on.name, on.capability, on.backend)["fused_lora"]
    stored = "dense" if layout == "dense" else "4-bit"
    entry = next(e for e in entries if e["weight"] == stored and e["rows"] >= M)
    columns = next((BN for BN in entry["BN"] if ceil_div(N, BN) >= on.multiprocessors), entry["BN"][-1])
    blocks = Blocks(entry["BM"], columns, entry["BK"], entry["num_warps"], entry["num_stages"])
    return _fit(_within_registers(blocks, on, stored, itemsize, rank, straddling), on.shared, stored, itemsize, rank)


def _within_registers(b: Blocks, on: Gpu, stored: str, itemsize: int, rank: int, straddling: bool) -> Blocks:
    """Smaller where these would not hold the tiles: the compile-only gate finds spills otherwise."""
    if itemsize == 4:  # products in float32 take no tensor cores: operands are in registers
        b = replace(b, BM=16, BN=16 if stored == "4-bit" else min(b.BN, 32), BK=64)
    if straddling:
        b = replace(b, BM=min(b.BM, 32), BN=16, BK=64)
    if rank > 64 and b.BM > 32:
        b = replace(b, BN=min(b.BN, 32))
    if rank > 80:
        b = replace(b, BK=64)
    if rank > 128:  # x A alone is then 16 x 256
        b = replace(b, BM=16, num_warps=8 if on.backend == "cuda" else 4)
    return b


def _fit(blocks: Blocks, shared: int, stored: str, itemsize: int, rank: int) -> Blocks:
    def bytes_needed(b: Blocks) -> float:
        loaded = itemsize * (b.BM + rank + (b.BN if stored == "dense" else 0)) * b.BK + 0.6 * b.BN * b.BK
        operands = itemsize * (b.BM + b.BN) * b.BK  # decoded, or transposed on the way to the tensor cores
        return b.num_stages * loaded + operands

    while bytes_needed(blocks) > 0.9 * shared and blocks.num_stages > 2:
        blocks = replace(blocks, num_stages=blocks.num_stages - 1)
    while bytes_needed(blocks) > 0.9 * shared and blocks.BK > 64:
        blocks = replace(blocks, BK=blocks.BK // 2)
    return blocks
