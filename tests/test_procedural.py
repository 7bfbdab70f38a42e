from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from semi.procedural import ADJECTIVES, LEADING, NOUNS, TRAILING, WIDTHS, ProceduralModality, phrase
from semi.procedural.drawing import words
from semi.procedural.frames import SLOTS, fill
from semi.ridge import Ridge

SEEDS = st.integers(0, 100_000)


@given(seed=SEEDS)
@settings(max_examples=30)
def test_a_seed_gives_one_modality_and_one_set_of_pairs(seed: int) -> None:
    first, again = ProceduralModality.draw(seed), ProceduralModality.draw(seed)
    assert first == again
    assert list(first.slots) == list(again.slots)
    (x, pairs), (y, twins) = first.sample(5, seed=1), again.sample(5, seed=1)
    assert torch.equal(x, y)
    assert pairs == twins


@given(seed=SEEDS)
@settings(max_examples=60)
def test_captions_say_what_the_attributes_are(seed: int) -> None:
    modality = ProceduralModality.draw(seed)
    embeddings, pairs = modality.sample(6, seed=0)
    assert embeddings.shape == (6, modality.width)
    assert embeddings.dtype == torch.float32
    assert embeddings.isfinite().all()
    assert WIDTHS[0] <= modality.width <= WIDTHS[1]
    assert sum(slot in NOUNS for slot in modality.slots) >= 1
    assert 2 <= len(modality.slots) <= 5
    for pair in pairs:
        assert set(pair.attributes) == set(modality.slots)
        for slot, value in pair.attributes.items():
            assert value in modality.slots[slot]
            stem = value[:-1] if slot in NOUNS else value  # a plural may change the last letter
            if value not in ("man", "woman"):
                assert stem.lower() in pair.caption.lower(), (slot, value, pair.caption)


@given(seed=SEEDS)
@settings(max_examples=60)
def test_framed_captions_say_what_the_attributes_are_in_one_or_two_sentences_of_their_own(seed: int) -> None:
    modality = ProceduralModality.draw(seed, framed=True)
    assert modality == ProceduralModality.draw(seed, framed=True)
    assert SLOTS[0] <= len(modality.slots) <= SLOTS[1]
    assert WIDTHS[0] <= modality.width <= WIDTHS[1]
    embeddings, pairs = modality.sample(6, seed=0)
    assert embeddings.shape == (6, modality.width)
    assert embeddings.isfinite().all()
    for pair in pairs:
        assert pair.caption in {fill(frame, pair.attributes) for frame in modality.frames}
        assert all(value in modality.slots[slot] for slot, value in pair.attributes.items())
        assert all(value.lower() in pair.caption.lower() for value in pair.attributes.values())


def test_modalities_of_other_seeds_differ() -> None:
    modalities = [ProceduralModality.draw(seed) for seed in range(40)]
    assert len({m.width for m in modalities}) > 20
    assert len({tuple(m.slots) for m in modalities}) > 30
    assert {m.phrasings for m in modalities} > {(0,)}


def test_samples_of_other_seeds_differ_in_the_same_space() -> None:
    modality = ProceduralModality.draw(4)
    (x, first), (y, second) = (modality.sample(50, seed=s) for s in (0, 1))
    assert not torch.equal(x, y)
    assert [p.caption for p in first] != [p.caption for p in second]
    known = {(slot, value) for slot, values in modality.slots.items() for value in values}
    assert {item for pair in second for item in pair.attributes.items()} <= known


@pytest.mark.parametrize("seed", range(8))
def test_the_attributes_can_be_read_off_the_embedding(seed: int) -> None:
    """Ridge regression from 64 pairs tells unseen samples' attribute values better than chance."""
    modality = ProceduralModality.draw(seed)
    x, pairs = modality.sample(128, seed=0)
    columns = [(slot, v) for slot, values in modality.slots.items() for v in values]
    truth = torch.tensor([[float(p.attributes[slot] == v) for slot, v in columns] for p in pairs])
    fit = Ridge.fit(x[:64], truth[:64]).predict(x[64:]).float()
    error = (fit - truth[64:]).square().mean()
    assert float(error) < 0.8 * float((truth[:64].mean(0) - truth[64:]).square().mean())


@pytest.mark.parametrize(
    ("row", "captions"),
    [
        (
            {"number": "two", "colour": "red", "animal": "fox", "place": "in a park"},
            ("two red foxes in a park", "two foxes, red, in a park", "Two foxes are red in a park"),
        ),
        (
            {"size": "tiny", "colour": "red", "animal": "sheep"},
            ("tiny red sheep", "sheep, tiny, red", "The sheep is tiny and red"),
        ),
        ({"animal": "fly"}, ("fly", "fly", "The fly is here")),
        ({"number": "many", "animal": "fly"}, ("many flies", "many flies", "Many flies are here")),
        ({"number": "a", "animal": "cat"}, ("a cat", "a cat", "A cat is here")),
    ],
    ids=lambda value: value["animal"] if isinstance(value, dict) else "",
)
def test_attributes_in_words(row: dict[str, str], captions: tuple[str, ...]) -> None:
    assert tuple(phrase(row, way) for way in range(3)) == captions


def test_every_slot_has_words() -> None:
    known = words("words.json")
    slots = {*LEADING, *ADJECTIVES, *NOUNS, *TRAILING}
    assert slots <= set(known)
    for slot in slots:
        assert len(set(known[slot])) == len(known[slot]) >= 3
