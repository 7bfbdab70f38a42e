"""The data set "moving-pictures": emoji that a program moves, so that everything about the motion is known."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

from PIL import Image
from semi.assets import cache_dir
from semi.modality import Dataset
from semi.pairs import Pair
from semi_plugin_image.assets import EMOJI
from semi_plugin_image.emoji import KINDS, Emoji

from semi_plugin_video.files import write_animation
from semi_plugin_video.movements import FPS, Movement, draw_movement, render

VERSION = 1
"""Of how clips are drawn; they are drawn anew when it changes."""
PHRASINGS = (
    "{picture} {speed}{motion}{background}",
    "{picture} {motion}{after}{background}",
    "{speed}{motion} {picture}{background}",
    "{picture}{background}, {speed}{motion}",
    "animation of {picture} {speed}{motion}{background}",
)


class MovingPictures(Dataset):
    """1,854 clips of 12 frames of 96 x 96 pixels, one of each picture of the data set "emoji", in its splits."""

    name = "moving-pictures"
    modality = "video"
    licence = EMOJI.licence
    assets = (EMOJI,)

    def pairs(self, split: str = "train") -> list[Pair]:
        """Pairs (path of an APNG, caption) with the slots picture, motion, speed and background.

        The clips of a split are drawn into semi's cache the first time, 10 ms each.

        Raises:
            InputError: no split of that name.
            AssetError: the pictures have not been fetched.
        """
        folder = cache_dir() / "clips" / f"{self.name}-{EMOJI.archives[0].version}-{VERSION}"
        pairs = []
        for picture in Emoji().pairs(split):
            source = Path(picture.sample)
            rng = random.Random(hashlib.sha256(source.name.encode()).digest())
            movement = draw_movement(rng)
            text, attributes = caption(bare(picture.caption), movement, rng)
            pairs.append(Pair(draw(source, movement, folder), text, attributes=attributes))
        return pairs


def bare(text: str) -> str:
    """A caption of the data set "emoji" without the kind: "orange, fruit" -> "orange"."""
    name, _, kind = text.rpartition(", ")
    return name if kind in KINDS.values() else text


def caption(picture: str, movement: Movement, rng: random.Random) -> tuple[str, dict[str, str]]:
    """A caption and the slots behind it, each of which stands in it word for word.

    Picture and motion are always told, speed where there is one in 70 %, the background in 40 %.
    """
    told = {"picture": picture, "motion": movement.motion}
    if movement.speed and rng.random() < 0.7:
        told["speed"] = movement.speed
    if rng.random() < 0.4:
        told["background"] = movement.background
    speed = told.get("speed")
    text = rng.choice(PHRASINGS).format(
        picture=picture,
        motion=movement.motion,
        speed=f"{speed} " if speed else "",
        after=f" {speed}" if speed else "",
        background=f" on {told['background']}" if "background" in told else "",
    )
    return text, told


def draw(source: Path, movement: Movement, folder: Path) -> Path:
    """The clip as an APNG file; one that is there already stays."""
    path = folder / source.name
    if not path.is_file():
        with Image.open(source) as picture:
            write_animation(path, render(picture, movement), [1000 // FPS] * 12)
    return path
