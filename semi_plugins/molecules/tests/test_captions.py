"""Captions say what the slots hold."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st
from semi_plugin_molecules.captions import ARTICLES, caption
from semi_plugin_molecules.dataset import FAMILIES
from semi_plugin_molecules.facts import ELEMENTS, Facts

facts = st.builds(
    Facts,
    family=st.sampled_from(FAMILIES),
    rings=st.sampled_from(sorted(ARTICLES)),
    size=st.sampled_from(["small", "medium", "large"]),
    elements=st.lists(st.sampled_from(sorted(ELEMENTS.values())), unique=True).map(tuple),
)


@given(key=st.text(), facts=facts, state=st.sampled_from(["solid", "liquid", "gas"]))
def test_every_slot_stands_in_the_caption(key: str, facts: Facts, state: str) -> None:
    text, slots = caption(key, facts, state)
    assert all(value in text for value in slots.values())
    assert slots["family"] == facts.family
    assert slots["rings"] == facts.rings
    assert slots.get("size", facts.size) == facts.size
    assert slots.get("state", state) == state
    told = [slots[slot] for slot in ("element", "second element") if slot in slots]
    assert told == list(facts.elements[:2])
    assert 6 <= len(text.split()) <= 13
    assert text == " ".join(text.split())
    assert caption(key, facts, state) == (text, slots)


@given(facts=facts, state=st.sampled_from(["solid", "liquid", "gas"]))
def test_nothing_is_said_that_no_slot_holds(facts: Facts, state: str) -> None:
    text, slots = caption("key", facts, state)
    words = {"small", "medium", "large", "solid", "liquid", "gas", *ELEMENTS.values()}
    assert words & set(text.replace(",", "").split()) == words & set(slots.values())


def test_one_molecule_type_is_told_in_many_ways() -> None:
    texts = {caption(str(n), Facts("ester", "open chain", "small", ("chlorine",)), "liquid")[0] for n in range(300)}
    assert len(texts) >= 20
    assert "small liquid ester with an open chain and chlorine" in texts
    assert "small liquid ester built on an open chain, with chlorine" in texts


def test_no_value_hides_in_another() -> None:
    values = [*FAMILIES, *ARTICLES, *ELEMENTS.values(), "small", "medium", "large", "solid", "liquid", "gas"]
    hidden = [(one, other) for one, other in itertools.permutations(values, 2) if one in other]
    assert not hidden  # so that a value found in generated text is that value and no other
