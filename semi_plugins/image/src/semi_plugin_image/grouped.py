"""Data sets of captioned pictures whose splits share no near-duplicates."""

from __future__ import annotations

from abc import abstractmethod
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from zlib import crc32

from semi.errors import InputError
from semi.modality import Dataset
from semi.pairs import Pair

from semi_plugin_image.pictures import difference_hash, open_picture

SPLITS = ("train", "validation", "test")
MAX_BITS = 3  # of 64: resized and recoloured copies stay below, unrelated pictures differ in about 30


@dataclass(frozen=True)
class Picture:
    """A captioned picture; pictures that share a key never come into different splits."""

    path: Path
    caption: str
    category: str
    keys: frozenset[str]


class PictureDataset(Dataset):
    """Captioned pictures, about 80 % train, 10 % validation, 10 % test."""

    modality = "image"

    @abstractmethod
    def pictures(self) -> list[Picture]:
        """All pictures in a fixed order."""

    def pairs(self, split: str = "train") -> list[Pair]:
        """Pairs (path, caption) with the attribute "category".

        Raises:
            InputError: no split of that name.
            AssetError: the pictures have not been fetched.
        """
        if split not in SPLITS:
            raise InputError(f"The data set {self.name} has no such split.", got=split, expected=", ".join(SPLITS))
        folder = self.assets[0].folder()
        return [
            Pair(sample=picture.path, caption=picture.caption, attributes={"category": picture.category})
            for picture, its_split in _split(type(self), folder)
            if its_split == split
        ]


@cache
def _split(dataset: type[PictureDataset], folder: Path) -> list[tuple[Picture, str]]:
    """Pictures with their splits; cached by folder, so that another cache directory is read afresh."""
    pictures = dataset().pictures()
    keys = [{picture.caption, *picture.keys} for picture in pictures]
    hashes = [difference_hash(open_picture(picture.path)) for picture in pictures]
    return list(zip(pictures, splits_of(groups(keys, hashes), keys), strict=True))


def groups(keys: Sequence[Iterable[str]], hashes: Sequence[int]) -> list[int]:
    """A group number for each picture; together are those that share a key or whose hashes differ in at most 3 bits."""
    leader = list(range(len(keys)))

    def find(picture: int) -> int:
        while leader[picture] != picture:
            leader[picture] = picture = leader[leader[picture]]
        return picture

    first_with: dict[str, int] = {}
    for picture, its_keys in enumerate(keys):
        for key in its_keys:
            leader[find(picture)] = find(first_with.setdefault(key, picture))
    for picture, its_hash in enumerate(hashes):
        for other in range(picture):
            if (its_hash ^ hashes[other]).bit_count() <= MAX_BITS:
                leader[find(picture)] = find(other)
    return [find(picture) for picture in range(len(keys))]


def splits_of(group_numbers: Sequence[int], keys: Sequence[Iterable[str]]) -> list[str]:
    """The split of each picture: a hash of its group's first key decides, whatever the other groups."""
    members: dict[int, list[str]] = defaultdict(list)
    for group, its_keys in zip(group_numbers, keys, strict=True):
        members[group] += its_keys
    tenth = {group: crc32(min(its_keys).encode()) % 10 for group, its_keys in members.items()}
    return [{0: "validation", 1: "test"}.get(tenth[group], "train") for group in group_numbers]
