"""Which words a sample calls for."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from semi.ridge import Ridge
from semi.words import FOLDS, LEAST, Words, words_of


class Tokenizer:
    """A token for every piece between bars."""

    def __init__(self, marked: str) -> None:
        self.pieces = [*marked.split("|"), "<end>"]

    def decode(self, tokens: list[int], **options: object) -> str:
        return "".join(self.pieces[token] for token in tokens)


@pytest.mark.parametrize(
    ("marked", "words"),
    [
        (
            "A| hand|written| two|,| leaning| le|ft|.",
            ["a", *["handwritten"] * 2, "two", ",", "leaning", *["left"] * 2, "."],
        ),
        ("up|right| row|, |left", ["upright", "upright", "row", ",", "left"]),
        ("2| N|H|3|-|rich", ["2", "nh3", "nh3", "nh3", "-", "rich"]),
        ("\u00c9|t\u00e9", ["\u00e9t\u00e9"] * 2),
    ],
)
def test_a_token_is_of_the_word_around_it_whatever_its_case(marked: str, words: list[str]) -> None:
    tokenizer = Tokenizer(marked)
    tokens = list(range(len(tokenizer.pieces)))
    assert words_of(tokenizer, marked.replace("|", ""), tokens) == [*words, "<end>"]


@given(st.integers(0, 10**6), st.integers(4, 9))
@settings(max_examples=20, deadline=None)
def test_each_word_is_what_ridge_regression_on_it_alone_predicts(seed: int, k: int) -> None:
    g = torch.Generator().manual_seed(seed)
    z, query = (torch.randn(n, 6, generator=g) for n in (k, 2))
    occur = torch.rand(k, 3, generator=g).round()
    called, unseen = Words.fit(z, occur), Words.unseen(z, occur)
    for word in range(3):
        own = occur[:, word : word + 1]
        chance = Ridge.fit(z, own).predict(query)[:, 0].clamp(0, 1)
        expected = ((chance + LEAST) / (own.mean() + LEAST)).log().float()
        torch.testing.assert_close(called.of(query)[:, word], expected, rtol=1e-3, atol=1e-3)
        for i in range(k):
            apart = torch.arange(k) != i
            chance = Ridge.fit(z[apart], own[apart]).predict(z[i])[0].clamp(0, 1)
            expected = ((chance + LEAST) / (own[apart].mean() + LEAST)).log().float()
            torch.testing.assert_close(unseen[i, word], expected, rtol=1e-3, atol=1e-3)


def test_words_that_nothing_can_predict_seem_no_likelier_where_they_occur() -> None:
    g = torch.Generator().manual_seed(0)
    occur = (torch.rand(16, 400, generator=g) < 0.3).float()
    unseen = Words.unseen(torch.randn(16, 12, generator=g), occur)
    assert unseen[occur > 0].mean() < unseen[occur == 0].mean() + 0.1


def test_many_pairs_are_left_out_in_groups() -> None:
    g = torch.Generator().manual_seed(0)
    z, occur = torch.randn(2 * FOLDS, 5, generator=g), torch.rand(2 * FOLDS, 3, generator=g).round()
    apart = torch.arange(2 * FOLDS) % FOLDS != 7
    torch.testing.assert_close(Words.unseen(z, occur)[7], Words.fit(z[apart], occur[apart]).of(z[7:8])[0])


def test_what_every_caption_says_is_no_likelier_for_any_sample() -> None:
    z, occur = torch.randn(8, 5), torch.ones(8, 1)
    assert Words.fit(z, occur).of(torch.randn(3, 5)).abs().max() < 1e-6
    assert Words.unseen(z, occur).abs().max() < 1e-6


def test_a_word_goes_by_the_samples_that_it_is_said_of() -> None:
    x = torch.randn(24, 4, generator=torch.Generator().manual_seed(0))
    occur = (x[:, :1] > 0).float()
    called = Words.fit(x, torch.cat([occur, 1 - occur], 1))
    right, left = called.of(torch.tensor([[2.0, 0, 0, 0], [-2.0, 0, 0, 0]]))
    assert right[0] > 0.4 > -1 > right[1]
    assert left[1] > 0.4 > -1 > left[0]
