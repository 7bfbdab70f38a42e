"""Splits by region: blocks of 20 x 20 degrees, and no tile next to one of another split."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence

from semi_plugin_satellite.tiles import Tile

SHARES = {"train": 0.7, "validation": 0.1, "test": 0.2}
REGION = 20
"""Degrees."""


def region_of(tile: Tile) -> str:
    """The block that a tile belongs to."""
    return f"{(90 - tile.north) // REGION},{(tile.west + 180) // REGION}"


def split_by_region(tiles: Sequence[Tile]) -> list[str | None]:
    """The split of each tile; None for those left out, of which a neighbour is in another split.

    Regions are dealt from the largest to the smallest, each to the split that lacks most of its share. Then train gives
    up its tiles at the border of the others, and validation those at the border of test.
    """
    sizes = Counter(map(region_of, tiles))
    dealt: Counter[str] = Counter()
    split: dict[str, str] = {}
    for region in sorted(sizes, key=lambda name: (-sizes[name], hashlib.sha256(name.encode()).digest())):
        total = dealt.total() + sizes[region]
        split[region] = max(SHARES, key=lambda name: SHARES[name] * total - dealt[name])
        dealt[split[region]] += sizes[region]
    order = list(SHARES)
    ranks = [order.index(split[region_of(tile)]) for tile in tiles]
    kept: list[str | None] = []
    for tile, rank in zip(tiles, ranks, strict=True):
        border = any(other > rank and tile.touches(away) for away, other in zip(tiles, ranks, strict=True))
        kept.append(None if border else order[rank])
    return kept
