"""Which of several texts is given."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from semi.candidates import WORD, choose, expected_f1
from semi.prefill import waits

WORDS = ("red", "green", "round", "a", "small")
texts = st.lists(st.sampled_from((*WORDS, "else")), max_size=6).map(" ".join)
chances = st.fixed_dictionaries({}, optional=dict.fromkeys(WORDS, st.floats(0, 1)))


def f1(text: str, caption: set[str]) -> float:
    """Of two sets of words, as precision and recall."""
    words = set(WORD.findall(text))
    shared = len(words & caption)
    if not shared:
        return 0.0
    precision, recall = shared / len(words), shared / len(caption)
    return 2 * precision * recall / (precision + recall)


@given(texts, st.sets(st.sampled_from(WORDS), min_size=1))
def test_of_a_certain_caption_it_is_f1(text: str, caption: set[str]) -> None:
    assert expected_f1(text, dict.fromkeys(caption, 1.0)) == pytest.approx(f1(text, caption))


@given(texts, chances)
def test_it_is_near_the_mean_over_captions(text: str, chances: Mapping[str, float]) -> None:
    """Each word in the caption or not, all by themselves: the number of words is taken for what is expected of it."""
    mean = 0.0
    for drawn in product((False, True), repeat=len(chances)):
        caption = {word for word, inside in zip(chances, drawn, strict=True) if inside}
        odds = [chances[word] if inside else 1 - chances[word] for word, inside in zip(chances, drawn, strict=True)]
        mean += torch.tensor([1.0, *odds]).prod().item() * f1(text, caption)
    assert 0 <= expected_f1(text, chances) <= 1
    assert expected_f1(text, chances) == pytest.approx(mean, abs=0.2)


@given(st.lists(texts, min_size=1, max_size=5), chances)
def test_no_other_text_would_be_better(found: list[str], chances: Mapping[str, float]) -> None:
    best = choose(found, chances)
    assert best in found
    assert expected_f1(best, chances) == max(expected_f1(text, chances) for text in found)


def test_of_equals_it_is_the_one_that_says_it_once() -> None:
    chances = {"moving": 0.9, "right": 0.8, "left": 0.1}
    assert choose(["Moving right, moving right", "Moving right", "moving left"], chances) == "Moving right"


@pytest.mark.parametrize("chances", [{}, {"word": 0.0}, {"word": 1.0}])
def test_where_no_word_is_expected_it_is_the_first(chances: Mapping[str, float]) -> None:
    assert choose(["the likeliest by token", "another"], chances) == "the likeliest by token"


def test_each_candidate_and_step_draws_otherwise_and_always_the_same() -> None:
    like = torch.zeros(2, 4000)
    drawn = {(candidate, step): waits(candidate, step, like) for candidate in (1, 2) for step in (0, 1)}
    assert all(torch.equal(each, waits(*key, like)) for key, each in drawn.items())
    assert len({each.sum().item() for each in drawn.values()}) == 4
    assert all(each.mean().item() == pytest.approx(1, abs=0.1) for each in drawn.values())
