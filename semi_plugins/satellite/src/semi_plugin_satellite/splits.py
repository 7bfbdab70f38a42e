"""Splits by region: blocks of 20 x 20 degrees, and no tile next to one of another split."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from semi_plugin_satellite.tiles import Tile

SHARES = {"train": 0.7, "validation": 0.1, "test": 0.2}
ORDER = tuple(SHARES)
REGION = 20
"""Degrees."""
NORTHERNMOST = 88
"""The regions' borders are at 88, 68, ... north: no tile of 4 degrees lies across one."""


def regions_of(tile: Tile) -> set[str]:
    """The blocks that a tile lies in; more than one if it lies across a border."""
    rows = {(NORTHERNMOST - tile.north + down) // REGION for down in (0, tile.side - 1)}
    columns = {(tile.west + 180 + right) // REGION for right in (0, tile.side - 1)}
    return {f"{row},{column}" for row in rows for column in columns}


def deal_regions(tiles: Iterable[Tile]) -> dict[str, str]:
    """The split of each region that has tiles.

    Regions are dealt from the largest to the smallest, each to the split that lacks most of its share.
    """
    sizes = Counter(region for tile in tiles for region in regions_of(tile))
    dealt: Counter[str] = Counter()
    split: dict[str, str] = {}
    for region in sorted(sizes, key=lambda name: (-sizes[name], hashlib.sha256(name.encode()).digest())):
        total = dealt.total() + sizes[region]
        split[region] = max(SHARES, key=lambda name: SHARES[name] * total - dealt[name])
        dealt[split[region]] += sizes[region]
    return split


def split_by_region(
    tiles: Sequence[Tile], dealt: Mapping[str, str], beside: Iterable[tuple[Tile, str | None]] = ()
) -> list[str | None]:
    """The split of each tile; None for those left out.

    Left out are tiles in regions of several splits or of none, tiles of validation and test that may overlap others (of
    those only every whole side from 180 west is taken), and tiles that touch one of another split, be it with a corner:
    train gives up its tiles at the border of the others, and validation those at the border of test.

    Args:
        dealt: the split of each region.
        beside: tiles whose split stands; all others that touch them are left out.
    """
    ranks = [_rank(tile, dealt) for tile in tiles]
    ground = np.zeros((len(ORDER), 180, 360), bool)  # where each split has tiles
    for tile, rank in zip(tiles, ranks, strict=True):
        if rank is not None:
            ground[rank][tile.cells()] = True
    foreign = np.stack([ground[rank + 1 :].any(0) for rank in range(len(ORDER))])
    for tile, split in beside:
        for rank, name in enumerate(ORDER):
            if split not in (None, name):
                foreign[rank][tile.cells()] = True
    return [
        None if rank is None or foreign[rank][tile.cells(margin=1)].any() else ORDER[rank]
        for tile, rank in zip(tiles, ranks, strict=True)
    ]


def _rank(tile: Tile, dealt: Mapping[str, str]) -> int | None:
    """The number of the split that a tile's regions belong to; None where there is no such."""
    splits = {dealt.get(region) for region in regions_of(tile)}
    split = splits.pop()
    if splits or split is None or (split != "train" and (tile.west + 180) % tile.side):
        return None
    return ORDER.index(split)
