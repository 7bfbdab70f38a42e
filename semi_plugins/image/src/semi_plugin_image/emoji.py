"""The data set "emoji": Google's emoji with their names and kinds."""

from __future__ import annotations

import json
import re
from typing import Any

from semi_plugin_image.assets import EMOJI
from semi_plugin_image.grouped import Picture, PictureDataset

SKIPPED = {"alphanum", "keycap", "skin-tone"}  # letters, digits and ideographs in boxes: text rather than pictures
# Unicode calls any outlined sign white and any filled one black; only here are they colours.
COLOURED = {"geometric", "heart", "flag", "animal-mammal", "animal-bird", "person", "person-activity"}
EMPTY = {"symbol", "sign", "ornament", "heavy"}
PEOPLE = {"man", "woman", "men", "women", "person", "people", "male", "female", "boy", "girl", "adult", "child", "with"}
NUMBERS = {"one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "thirty"}
# What a name alone does not say ("orange", "rose", "bat"); kinds left out would repeat the name.
KINDS = {
    "animal-mammal": "mammal", "animal-bird": "bird", "animal-marine": "sea animal", "animal-reptile": "reptile",
    "animal-amphibian": "amphibian", "animal-bug": "bug", "plant-flower": "flower",
    "plant-other": "plant", "food-fruit": "fruit", "food-vegetable": "vegetable", "food-prepared": "cooked food",
    "food-asian": "asian food", "food-sweet": "sweet food", "drink": "drink", "clothing": "clothing", "tool": "tool",
    "sky & weather": "sky", "transport-ground": "ground transport", "transport-air": "aircraft",
    "transport-water": "watercraft", "place-building": "building", "place-religious": "religious building",
    "place-geographic": "landscape", "musical-instrument": "musical instrument", "medical": "medicine",
    "science": "science", "household": "household object", "office": "office supply", "writing": "writing tool",
    "book-paper": "paper", "sport": "sport", "game": "game", "person-sport": "sport", "person-role": "profession",
    "body-parts": "body part", "zodiac": "star sign", "religion": "religion", "money": "money", "dishware": "dishware",
    "computer": "computer", "mail": "mail", "light & video": "light or video", "sound": "sound", "music": "music",
    "award-medal": "award", "event": "celebration", "transport-sign": "public sign", "warning": "warning sign",
}  # fmt: skip


class Emoji(PictureDataset):
    """About 1,850 pictures of 64 x 64 pixels: faces, people, animals, food, things, places, flags."""

    name = "emoji"
    licence = EMOJI.licence
    assets = (EMOJI,)

    def pictures(self) -> list[Picture]:
        """Emoji that are pictures, in the order of the list; category: Unicode's in lower case ("food & drink")."""
        entries = json.loads(EMOJI.path("package/emoji.json").read_text(encoding="utf-8"))
        folder = EMOJI.path("package/img/google/64")
        return [
            Picture(folder / entry["image"], caption(entry), entry["category"].lower(), group_keys(entry))
            for entry in entries
            if entry["has_img_google"] and entry["subcategory"] not in SKIPPED
        ]


def caption(entry: dict[str, Any]) -> str:
    """Name and kind in lower case: {"name": "ORANGE", "subcategory": "food-fruit", ...} -> "orange, fruit"."""
    name, kind = entry["name"], entry["subcategory"]
    if name.endswith(" Flag"):
        return f"flag of {name.removesuffix(' Flag').lower()}"
    dropped = EMPTY if kind in COLOURED else EMPTY | {"black", "white"}
    words = [word for word in name.lower().replace(":", ",").split() if word not in dropped]
    said = " ".join(words).strip(",") or name.lower()
    hint = KINDS.get(kind)
    return f"{said}, {hint}" if hint and hint not in said else said


def group_keys(entry: dict[str, Any]) -> frozenset[str]:
    """Emoji of one motif share a key: man, woman and person in one role; all clock faces; all families."""
    if entry["subcategory"] == "family":
        return frozenset({"family"})
    words = set(re.findall(r"\w+", entry["name"].lower())) - PEOPLE - NUMBERS - EMPTY - {"face", "facing", "right"}
    return frozenset({f"motif {' '.join(sorted(words))}"} if words else ())
