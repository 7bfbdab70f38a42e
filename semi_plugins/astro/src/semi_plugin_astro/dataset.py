"""The data set "deep-sky": photographs of nebulae, clusters and galaxies with captions from OpenNGC."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from semi.modality import Dataset
from semi.pairs import Pair
from semi.splits import require_split
from semi_plugin_image.grouped import groups
from semi_plugin_image.pictures import difference_hash

from semi_plugin_astro.assets import NEBULAE, OPENNGC, STELLARIUM
from semi_plugin_astro.captions import caption, facts_of
from semi_plugin_astro.catalogue import Catalogue, Field, read_fields
from semi_plugin_astro.photographs import open_photograph
from semi_plugin_astro.splits import SHARES, split_by_group


class DeepSky(Dataset):
    """About 450 photographs; no object, no part of the sky and no near-duplicate is in two splits."""

    name = "deep-sky"
    modality = "astro"
    licence = "GPL-2.0-or-later (photographs); captions from OpenNGC, CC-BY-SA-4.0"
    assets = (STELLARIUM, OPENNGC)

    def pairs(self, split: str = "train") -> list[Pair]:
        """Pairs of "train" (70 %), "validation" (10 %) or "test" (20 %), in a fixed order.

        Raises:
            InputError: another split.
            AssetError: an asset has not been fetched.
        """
        require_split(self.name, split)
        return list(build(STELLARIUM.path(NEBULAE), OPENNGC.path("pyongc/ongc.db"))[split])


@cache
def build(folder: Path, database: Path) -> dict[str, list[Pair]]:
    """All splits from a folder of photographs with its textures.json, and OpenNGC; kept for the process."""
    catalogue = Catalogue(database)
    fields: dict[str, Field] = {}
    names: dict[str, str] = {}
    made: list[Pair] = []
    for file, field in read_fields(folder / "textures.json").items():
        item = catalogue.shown(file, field)
        facts = facts_of(item) if item else {}
        if item and len(facts) > 1:  # beside the kind, something to tell
            text, attributes = caption(file, facts)
            made.append(Pair(folder / file, text, attributes=attributes))
            fields[file], names[file] = field, item.name
    splits: dict[str, list[Pair]] = {split: [] for split in SHARES}
    kinds = [pair.attributes["kind"] for pair in made]
    for pair, split in zip(made, split_by_group(together(fields, names, folder), list(fields), kinds), strict=True):
        splits[split].append(pair)
    return splits


def together(fields: dict[str, Field], names: dict[str, str], folder: Path) -> list[int]:
    """A group number for each file; together are one object, fields that overlap, and near-duplicates.

    Args:
        fields: place in the sky by file name.
        names: object by file name, the same files in the same order.
        folder: where the files are; their difference hashes tell near-duplicates.
    """
    files = list(fields)
    keys = [{names[file]} for file in files]
    for number, file in enumerate(files):
        keys[number] |= {names[other] for other in files[:number] if fields[file].overlaps(fields[other])}
    hashes = [difference_hash(open_photograph(folder / file)) for file in files]
    return groups(keys, hashes)
