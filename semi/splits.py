"""Honest splits for data sets: what belongs together never comes into different splits."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Literal, get_args
from zlib import crc32

from semi.errors import InputError

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)


def require_split(dataset: str, split: str) -> None:
    """Refuse what is none of `SPLITS`.

    Raises:
        InputError: names the data set and the splits there are.
    """
    if split not in SPLITS:
        raise InputError(f"the data set {dataset} has no such split", got=split, expected=", ".join(SPLITS))


def groups_of(keys: Sequence[Iterable[str]], links: Iterable[tuple[int, int]] = ()) -> list[int]:
    """A group number for each item; together are items that share a key or are linked, also by way of others.

    Args:
        keys: of each item, what must not be in two splits: a person, a caption, a file's hash.
        links: pairs of items, by index, that belong together for another reason, e.g. near-duplicates.
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
    for one, other in links:
        leader[find(one)] = find(other)
    return [find(item) for item in range(len(keys))]


def splits_by_hash(groups: Sequence[int], keys: Sequence[Iterable[str]]) -> list[Split]:
    """The split of each item, about 80, 10 and 10 % of the groups.

    A hash of the group's first key decides, whatever the other groups: data added later moves nothing that was there
    unless it joins two groups.
    """
    members: dict[int, list[str]] = defaultdict(list)
    for group, its_keys in zip(groups, keys, strict=True):
        members[group] += its_keys
    tenth = {group: crc32(min(its_keys).encode()) % 10 for group, its_keys in members.items()}
    held: dict[int, Split] = {0: "validation", 1: "test"}
    return [held.get(tenth[group], "train") for group in groups]
