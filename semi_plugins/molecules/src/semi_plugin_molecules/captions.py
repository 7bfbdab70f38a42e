"""Captions from facts: one template set, varied by a seed that only the molecule decides."""

from __future__ import annotations

import hashlib
import random

from semi_plugin_molecules.facts import Facts

PHRASINGS = (
    "{kind} with {parts}",
    "{kind} containing {parts}",
    "{family} with {parts}, {adjectives}",
    "{family}, {adjectives}, with {parts}",
    "{kind} built on {rings}{rest}",
)
"""kind: "small liquid ester"; parts: rings and elements in random order; rest: ", with chlorine" or nothing."""

ARTICLES = {
    "open chain": "an open chain",
    "aliphatic ring": "an aliphatic ring",
    "benzene ring": "a benzene ring",
    "fused aromatic rings": "fused aromatic rings",
    "heteroaromatic ring": "a heteroaromatic ring",
}


def caption(key: str, facts: Facts, state: str) -> tuple[str, dict[str, str]]:
    """A caption of 6 to 13 words and the slots behind it.

    Family, rings and up to two elements are always told; of size and state, both (60 %), only the state (25 %) or only
    the size (15 %).

    Args:
        key: decides the choices; the same key always gives the same caption.
        facts: from the structure.
        state: "solid", "liquid" or "gas" at 25 degrees Celsius.

    Returns:
        The caption, and slot -> value where every value stands in the caption word for word.
    """
    rng = random.Random(hashlib.sha256(key.encode()).digest())
    told = rng.choices((("size", "state"), ("state",), ("size",)), weights=(60, 25, 15))[0]
    slots = {"family": facts.family, "rings": facts.rings}
    slots |= {slot: value for slot, value in (("size", facts.size), ("state", state)) if slot in told}
    elements = list(facts.elements[:2])
    slots |= dict(zip(("element", "second element"), elements, strict=False))

    adjectives = [slots[slot] for slot in told]
    rng.shuffle(elements)
    parts = [ARTICLES[facts.rings], *elements]
    rng.shuffle(parts)
    phrase = rng.choice(PHRASINGS)
    kind = " ".join([*adjectives, facts.family])  # English order: size before state
    rng.shuffle(adjectives)
    text = phrase.format(
        kind=kind,
        family=facts.family,
        adjectives=" and ".join(adjectives),
        parts=_join(parts),
        rings=ARTICLES[facts.rings],
        rest=f", with {_join(elements)}" if elements else "",
    )
    return text, slots


def _join(words: list[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else words[0]
