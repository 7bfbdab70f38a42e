"""Data sets of captioned pictures whose splits share no near-duplicates."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from semi.modality import Dataset
from semi.pairs import Pair
from semi.splits import groups_of, require_split, splits_by_hash

from semi_plugin_image.pictures import difference_hash, open_picture

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
        require_split(self.name, split)
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
    return list(zip(pictures, splits_by_hash(groups(keys, hashes), keys), strict=True))


def groups(keys: Sequence[Iterable[str]], hashes: Sequence[int]) -> list[int]:
    """A group number for each picture; together are those that share a key or whose hashes differ in at most 3 bits."""
    pairs = ((picture, other) for picture in range(len(hashes)) for other in range(picture))
    near = ((one, other) for one, other in pairs if (hashes[one] ^ hashes[other]).bit_count() <= MAX_BITS)
    return groups_of(keys, near)
