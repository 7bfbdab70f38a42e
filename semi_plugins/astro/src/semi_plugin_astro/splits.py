"""Splits that keep groups together and give every kind of object its share of each."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence

SHARES = {"train": 0.7, "validation": 0.1, "test": 0.2}


def split_by_group(groups: Sequence[int], names: Sequence[str], kinds: Sequence[str]) -> list[str]:
    """The split of each item, such that items of one group stay together.

    Groups are dealt kind by kind, the largest first and then by a hash of their first name, each to the split that
    lacks most of its share of that kind; a group goes by the kind of the item with its first name.

    Args:
        groups: a group number for each item.
        names: a name for each item, by which nothing but the order of dealing is decided.
        kinds: what each item is.
    """
    members: dict[int, list[int]] = defaultdict(list)
    for item, group in enumerate(groups):
        members[group].append(item)
    firsts = {group: min(items, key=lambda item: names[item]) for group, items in members.items()}

    def order(group: int) -> tuple[int, bytes]:
        return -len(members[group]), hashlib.sha256(names[firsts[group]].encode()).digest()

    dealt: dict[str, Counter[str]] = defaultdict(Counter)
    split: dict[int, str] = {}
    for group in sorted(members, key=order):
        so_far, size = dealt[kinds[firsts[group]]], len(members[group])
        total = so_far.total() + size
        lacking = {name: share * total - so_far[name] for name, share in SHARES.items()}
        split[group] = max(lacking, key=lambda name: lacking[name])
        so_far[split[group]] += size
    return [split[group] for group in groups]
