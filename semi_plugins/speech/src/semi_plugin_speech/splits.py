"""Splits of recordings by what is said."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from zlib import crc32

SPLITS = ("train", "validation", "test")


def splits_of(keys: Sequence[Iterable[str]]) -> list[str]:
    """The split of each item, about 80, 10 and 10 %; items that share a key, also by way of others, share the split.

    A hash of the group's first key decides, whatever the other groups.
    """
    leader = list(range(len(keys)))

    def find(item: int) -> int:
        while leader[item] != item:
            leader[item] = item = leader[leader[item]]
        return item

    first_with: dict[str, int] = {}
    for item, its_keys in enumerate(keys):
        for key in its_keys:
            leader[find(item)] = find(first_with.setdefault(key, item))
    members: dict[int, list[str]] = defaultdict(list)
    for item, its_keys in enumerate(keys):
        members[find(item)] += its_keys
    tenth = {group: crc32(min(its_keys).encode()) % 10 for group, its_keys in members.items()}
    return [{0: "validation", 1: "test"}.get(tenth[find(item)], "train") for item in range(len(keys))]
