"""Captions from land cover and climate: one template set, varied by a seed that only the place decides."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping

COVERS = (
    "water", "evergreen needleleaf forest", "evergreen broadleaf forest", "deciduous needleleaf forest",
    "deciduous broadleaf forest", "mixed forest", "closed shrubland", "open shrubland", "woody savanna", "savanna",
    "grassland", "wetland", "cropland", "built-up land", "cropland mosaic", "snow and ice", "barren land",
)  # fmt: skip
"""The classes 0 to 16 of IGBP in MCD12C1."""

CLIMATES = {
    "tropical rainforest climate": ("Af",),
    "tropical monsoon climate": ("Am",),
    "tropical wet-and-dry climate": ("As", "Aw"),  # usually called after the savanna, which is a land cover here
    "hot desert climate": ("BWh",),
    "cold desert climate": ("BWk",),
    "hot semi-arid climate": ("BSh",),
    "cold semi-arid climate": ("BSk",),
    "mediterranean climate": ("Csa", "Csb", "Csc"),
    "humid subtropical climate": ("Cfa", "Cwa"),
    "oceanic climate": ("Cfb", "Cfc", "Cwb", "Cwc"),
    "humid continental climate": ("Dfa", "Dfb", "Dwa", "Dwb", "Dsa", "Dsb"),
    "subarctic climate": ("Dfc", "Dfd", "Dwc", "Dwd", "Dsc", "Dsd"),
    "tundra climate": ("ET",),
    "ice cap climate": ("EF",),
}
"""Koeppen and Geiger's zones in words."""

HEADS = ("{land}", "{land}", "satellite picture of {land}", "view of {land}", "land with {land}")
PLACES = ("in {a} {climate}", "under {a} {climate}", "of {a} {climate}")
WATERS = ("with open water", "beside open water", "next to open water")


def climate_of(zone: str) -> str:
    """The words for a zone such as "Cfb"."""
    return next(words for words, zones in CLIMATES.items() if zone in zones)


def facts_of(cover: Mapping[int, float], zone: str) -> dict[str, str]:
    """The slots of a piece of land.

    cover: the commonest class of the land. extent: patchy where that is below half of the land, unbroken from 80 %,
    else extensive. climate: of `zone`. water: from 15 % of the whole area.

    Args:
        cover: share of the whole area by class of IGBP; not all water.
        zone: Koeppen and Geiger's, the commonest of the land.
    """
    land = {number: share for number, share in cover.items() if number != 0}
    top = max(land, key=lambda number: (land[number], -number))
    share = round(land[top] / sum(land.values()), 9)  # a half is a half, however the sum is rounded
    extent = "unbroken" if share >= 0.8 else "extensive" if share >= 0.5 else "patchy"
    facts = {"cover": COVERS[top], "extent": extent, "climate": climate_of(zone)}
    return facts | {"water": "open water"} if cover.get(0, 0) >= 0.15 else facts


def caption(key: str, facts: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """A caption of 2 to 14 words and the slots behind it.

    Cover and water are always told; climate and extent both (50 %), only the climate (30 %) or only the extent (20 %).

    Args:
        key: decides the choices; the same key always gives the same caption.
        facts: from `facts_of`.

    Returns:
        The caption, and slot -> value where every value stands in the caption word for word.
    """
    rng = random.Random(hashlib.sha256(key.encode()).digest())
    chosen = rng.choices((("extent", "climate"), ("climate",), ("extent",)), weights=(50, 30, 20))[0]
    told = {slot: facts[slot] for slot in ("cover", *chosen, "water") if slot in facts}
    land = " ".join(told[slot] for slot in ("extent", "cover") if slot in told)
    rest = []
    first = ""
    if "climate" in told:
        if rng.random() < 0.3:
            first = f"{told['climate']}: "
        else:
            article = "an" if told["climate"][0] in "aeiou" else "a"
            rest.append(rng.choice(PLACES).format(a=article, climate=told["climate"]))
    if "water" in told:
        rest.append(rng.choice(WATERS))
    rng.shuffle(rest)
    text = " ".join([rng.choice(HEADS).format(land=land), ", ".join(rest)]).strip()
    return first + text, told
