"""Which words a sample calls for."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from semi.ridge import Ridge
from semi.words import LEAST, Words, words_of


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
    called, unseen = Words.fit(z, occur)
    for word in range(3):
        own = occur[:, word : word + 1]
        ridge = Ridge.fit(z, own)
        chance = ridge.predict(query)[:, 0].clamp(0, 1)
        expected = ((chance + LEAST) / (own.mean() + LEAST)).log().float()
        torch.testing.assert_close(called.of(query)[:, word], expected, rtol=1e-3, atol=1e-3)
        left_out = ridge.predict_unseen(z)[:, 0].clamp(0, 1)
        others = (own.sum() - own[:, 0]) / (k - 1)
        expected = ((left_out + LEAST) / (others + LEAST)).log().float()
        torch.testing.assert_close(unseen[:, word], expected, rtol=1e-3, atol=1e-3)


def test_what_every_caption_says_is_no_likelier_for_any_sample() -> None:
    called, unseen = Words.fit(torch.randn(8, 5), torch.ones(8, 1))
    assert called.of(torch.randn(3, 5)).abs().max() < 1e-6
    assert unseen.abs().max() < 1e-6


def test_a_word_goes_by_the_samples_that_it_is_said_of() -> None:
    x = torch.randn(24, 4, generator=torch.Generator().manual_seed(0))
    occur = (x[:, :1] > 0).float()
    called, _ = Words.fit(x, torch.cat([occur, 1 - occur], 1))
    right, left = called.of(torch.tensor([[2.0, 0, 0, 0], [-2.0, 0, 0, 0]]))
    assert right[0] > 0.4 > -1 > right[1]
    assert left[1] > 0.4 > -1 > left[0]
