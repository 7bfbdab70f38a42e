"""The data set "sprites": units of the game The Battle for Wesnoth, and what they do."""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from PIL import Image, ImageChops
from semi.assets import cache_dir
from semi.modality import Dataset
from semi.pairs import Pair
from semi.splits import require_split
from semi_plugin_image.grouped import groups
from semi_plugin_image.shared import difference_hash

from semi_plugin_video.assets import CORE, WESNOTH
from semi_plugin_video.files import write_animation
from semi_plugin_video.units import Animation, find_animations

SHARES = {"train": 0.7, "validation": 0.1, "test": 0.2}
VERSION = 1
"""Of how clips are put together; they are written anew when it changes."""
PHRASINGS = (
    "{unit}{race} {action}{weapon}",
    "{action}{weapon}: {unit}{race}",
    "{unit}{race}, {action}{weapon}",
    "animated {unit}{race} {action}{weapon}",
)
WEAPONS = (" with its {weapon}", " using its {weapon}", " with {weapon}")


class Sprites(Dataset):
    """487 short animations drawn by hand: 198 units, attacking with their weapons, waiting, dying, healing, ..."""

    name = "sprites"
    modality = "video"
    licence = WESNOTH.licence
    assets = (WESNOTH,)

    def pairs(self, split: str = "train") -> list[Pair]:
        """Pairs (path of an APNG, caption) with the slots unit, action, weapon and race.

        The clips are written into semi's cache the first time.

        Raises:
            InputError: no split of that name.
            AssetError: the game's pictures have not been fetched.
        """
        require_split(self.name, split)
        folder = cache_dir() / "clips" / f"{self.name}-{WESNOTH.archives[0].version.replace(':', '_')}-{VERSION}"
        pairs = []
        for animation, its_split in _split(WESNOTH.path(CORE)):
            if its_split == split:
                text, attributes = caption(animation)
                pairs.append(Pair(write(animation, folder), text, attributes=attributes))
        return pairs


@cache
def _split(core: Path) -> list[tuple[Animation, str]]:
    """Animations with their splits: one unit, what it may be promoted to, and near-duplicates stay together."""
    animations = find_animations(core)
    keys = [{*animation.line, animation.unit} for animation in animations]
    hashes = [difference_hash(_without_margin(canvases(animation)[0])) for animation in animations]
    return list(zip(animations, dealt(groups(keys, hashes)), strict=True))


def dealt(group_numbers: Sequence[int]) -> list[str]:
    """The split of each animation: groups go from the largest to the smallest to the split that lacks most."""
    split: dict[int, str] = {}
    sizes: Counter[str] = Counter()
    for group, size in sorted(Counter(group_numbers).items(), key=lambda item: (-item[1], item[0])):
        total = sizes.total() + size
        split[group] = max(SHARES, key=lambda name: SHARES[name] * total - sizes[name])
        sizes[split[group]] += size
    return [split[group] for group in group_numbers]


def _without_margin(frame: Image.Image) -> Image.Image:
    """Without the white around it, in which all sprites look alike."""
    box = ImageChops.difference(frame, Image.new("RGB", frame.size, "white")).getbbox()
    return frame.crop(box) if box else frame


def caption(animation: Animation) -> tuple[str, dict[str, str]]:
    """A caption and the slots behind it, each of which stands in it word for word.

    Unit, action and weapon are always told; the race, where the unit's name does not tell it, in 40 %.
    """
    rng = random.Random(_key(animation))
    told = {"unit": animation.unit, "action": animation.action}
    if animation.weapon:
        told["weapon"] = animation.weapon
    known = {"elf": "elv"}.get(animation.race, animation.race[:3]) in animation.unit  # "elvish fighter", "orcish grunt"
    if not known and animation.race != "monster" and rng.random() < 0.4:
        told["race"] = animation.race
    race = f" ({told['race']})" if "race" in told else ""
    weapon = rng.choice(WEAPONS).format(weapon=animation.weapon) if animation.weapon else ""
    text = rng.choice(PHRASINGS).format(unit=animation.unit, race=race, action=animation.action, weapon=weapon)
    return text, told


def canvases(animation: Animation) -> list[Image.Image]:
    """The frames in RGB on white, all of one size: sprites are as large as what they show, and share their middle."""
    opened: list[Image.Image] = []
    for path, _ in animation.frames:
        with Image.open(path) as file:
            opened.append(file.convert("RGBA"))
    size = max(image.width for image in opened), max(image.height for image in opened)
    frames = []
    for image in opened:
        frame = Image.new("RGBA", size, "white")
        frame.alpha_composite(image, ((size[0] - image.width) // 2, (size[1] - image.height) // 2))
        frames.append(frame.convert("RGB"))
    return frames


def write(animation: Animation, folder: Path) -> Path:
    """The animation as an APNG file; one that is there already stays."""
    path = folder / f"{animation.unit.replace(' ', '-')}-{_key(animation).hex()[:12]}.png"
    if not path.is_file():
        write_animation(path, canvases(animation), [milliseconds for _, milliseconds in animation.frames])
    return path


def _key(animation: Animation) -> bytes:
    """What its caption's choices and its file's name hang on: the unit, the action and the frames."""
    frames = ",".join(f"{path.name}:{milliseconds}" for path, milliseconds in animation.frames)
    return hashlib.sha256(f"{animation.unit} {animation.action} {animation.weapon} {frames}".encode()).digest()
