"""Captions from the catalogue: one template set, varied by a seed that only the photograph decides."""

from __future__ import annotations

import hashlib
import random

from semi_plugin_astro.catalogue import Object

KINDS = {
    "GPair": "pair of galaxies", "GCl": "globular cluster", "OCl": "open cluster", "Cl+N": "star cluster with nebula",
    "PN": "planetary nebula", "HII": "emission nebula", "EmN": "emission nebula", "RfN": "reflection nebula",
    "Neb": "diffuse nebula", "SNR": "supernova remnant", "DrkN": "dark nebula",
}  # fmt: skip
"""OpenNGC's types in words; "G" goes by its Hubble type, and single stars and unknown objects are left out."""

PHRASINGS = (
    "{adjectives} {kind}{shape}",
    "{kind}{shape}, {adjectives}",
    "{kind}, {adjectives}{shape}",
    "photograph of a {adjectives} {kind}{shape}",
    "{kind} that is {adjectives}{shape}",
)
SHAPES = {
    "edge-on": (", seen edge-on", " in edge-on view"),
    "tilted": (", tilted", " in tilted view"),
    "face-on": (", seen face-on", " in face-on view"),
    "round": (", round in outline", " with a round outline"),
    "elongated": (", elongated in outline", " with an elongated outline"),
}


def kind_of(item: Object) -> str | None:
    """What it is, or None for what the data set leaves out."""
    return _galaxy(item.hubble) if item.type == "G" else KINDS.get(item.type)


def _galaxy(hubble: str) -> str:
    """Hubble's (de Vaucouleurs's) classes in words; "S0-a" and "E-S0" count as lenticular, "Sm" as irregular."""
    if not hubble:
        return "galaxy"
    if "S0" in hubble:
        return "lenticular galaxy"
    if hubble.startswith("E"):
        return "elliptical galaxy"
    if hubble.startswith("I") or hubble.endswith("m"):
        return "irregular galaxy"
    return "barred spiral galaxy" if hubble.startswith(("SB", "SAB")) else "spiral galaxy"


def facts_of(item: Object) -> dict[str, str]:
    """All slots that the catalogue fills: kind, shape (galaxies), size and brightness.

    shape: minor over major axis below 0.35 edge-on, to 0.65 tilted, else face-on; of ellipticals, below 0.75 elongated,
    else round. size: major axis below 5 arc minutes small, from 10 large. brightness: magnitude below 8.5 bright, from
    10 faint.
    """
    kind = kind_of(item)
    if kind is None:
        return {}
    facts = {"kind": kind}
    if item.type == "G" and item.major and item.minor:
        ratio = item.minor / item.major
        if kind == "elliptical galaxy":
            facts["shape"] = "elongated" if ratio < 0.75 else "round"
        else:
            facts["shape"] = "edge-on" if ratio < 0.35 else "tilted" if ratio < 0.65 else "face-on"
    if item.major:
        facts["size"] = "small" if item.major < 5 else "medium-sized" if item.major < 10 else "large"
    if item.magnitude is not None:
        magnitude = item.magnitude
        facts["brightness"] = "bright" if magnitude < 8.5 else "moderately bright" if magnitude < 10 else "faint"
    return facts


def caption(key: str, facts: dict[str, str]) -> tuple[str, dict[str, str]]:
    """A caption of 2 to 10 words and the slots behind it.

    Kind and shape are always told; of size and brightness, both (60 %) or one of the two (20 % each), where known.

    Args:
        key: decides the choices; the same key always gives the same caption.
        facts: from `facts_of`, with a size or a brightness.

    Returns:
        The caption, and slot -> value where every value stands in the caption word for word.
    """
    rng = random.Random(hashlib.sha256(key.encode()).digest())
    told = rng.choices((("size", "brightness"), ("size",), ("brightness",)), weights=(60, 20, 20))[0]
    # Where the chosen one of the two is not known, the other is told.
    adjectives = [slot for slot in told if slot in facts] or [s for s in ("size", "brightness") if s in facts]
    rng.shuffle(adjectives)
    shown = {slot: facts[slot] for slot in ("kind", "shape", *adjectives) if slot in facts}
    phrase = rng.choice(PHRASINGS)
    shape = rng.choice(SHAPES[facts["shape"]]) if "shape" in facts else ""
    words = [facts[slot] for slot in adjectives]
    separator = " " if phrase.startswith(("{adjectives}", "photograph")) else " and "
    return phrase.format(adjectives=separator.join(words), kind=facts["kind"], shape=shape), shown
