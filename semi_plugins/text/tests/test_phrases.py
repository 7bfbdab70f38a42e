"""The data set wordnet: splits, sizes, grammar."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from semi.errors import InputError

from semi_plugin_text.assets import WORDNET
from semi_plugin_text.phrases import SIZES, WordNetPhrases, _phrases, content_key, first_clause, split_of
from semi_plugin_text.vocabulary import Vocabulary, article
from semi_plugin_text.wordnet import UNKIND, WordNet

needs_wordnet = pytest.mark.skipif(not WORDNET.present(), reason="run: semi fetch wordnet")
words = st.lists(st.sampled_from(["small", "bird", "rocky", "coast", "ester", "dog", "with", "a", "of"]), min_size=1)


@given(words, st.randoms(use_true_random=False))
def test_reordering_does_not_change_the_split(phrase: list[str], rng) -> None:  # type: ignore[no-untyped-def]
    shuffled = [*phrase, "the"]
    rng.shuffle(shuffled)
    assert split_of(content_key(" ".join(phrase))) == split_of(content_key(", ".join(shuffled)))


@pytest.mark.parametrize(
    ("gloss", "clause"),
    [
        ('a small bird; "it sang"', "a small bird"),
        ("(chemistry) any organic compound (an ester)", "any organic compound"),
        ("a very long clause that goes on and on, and then on", "a very long clause that goes on and on"),
        ("red, green, blue", "red, green, blue"),
    ],
)
def test_first_clause(gloss: str, clause: str) -> None:
    assert first_clause(gloss) == clause


@pytest.mark.parametrize(
    ("phrase", "with_article"),
    [("ester", "an ester"), ("scissors", "scissors"), ("glass", "a glass"), ("unicorn", "a unicorn")],
)
def test_article(phrase: str, with_article: str) -> None:
    assert article(phrase) == with_article


def test_unknown_split_names_the_known() -> None:
    with pytest.raises(InputError) as error:
        WordNetPhrases().pairs("dev")
    assert "validation" in str(error.value)


@pytest.mark.assets
@needs_wordnet
class TestFromWordNet:
    def test_splits_share_no_content(self) -> None:
        keys = {split: {content_key(pair.caption) for pair in WordNetPhrases().pairs(split)} for split in SIZES}
        assert {split: len(found) for split, found in keys.items()} == SIZES  # so no phrase comes twice either
        assert not keys["train"] & keys["test"]
        assert not keys["train"] & keys["validation"]
        assert not keys["validation"] & keys["test"]

    def test_phrases_are_short_and_their_own_caption(self) -> None:
        pairs = WordNetPhrases().pairs("test")
        assert all(pair.sample == pair.caption for pair in pairs)
        lengths = sorted(len(pair.caption.split()) for pair in pairs)
        assert lengths[0] >= 2
        assert lengths[-1] <= 14
        assert 4 <= lengths[250] <= 6

    def test_same_phrases_every_time(self) -> None:
        first = _phrases(WORDNET.path("usr/share/wordnet"))["validation"]
        _phrases.cache_clear()
        assert _phrases(WORDNET.path("usr/share/wordnet"))["validation"] == first

    def test_grammar_and_kindness(self) -> None:
        wordnet = WordNet(WORDNET.path("usr/share/wordnet"))
        vocabulary = Vocabulary(wordnet)
        plurals = {"church": "churches", "city": "cities", "mouse": "mice", "hunting dog": "hunting dogs"}
        assert {noun: vocabulary.plural(noun) for noun in plurals} == plurals
        forms = {"run": "running", "make": "making", "tie": "tying", "see": "seeing", "walk around": "walking around"}
        assert {verb: vocabulary.ing(verb) for verb in forms} == forms
        assert "ester" in vocabulary.compound.lemmas
        assert not any(UNKIND.search(wordnet.synsets["noun"][word.synset].gloss) for word in wordnet.words("noun"))
