"""Which of several texts to give for a sample: the one that most likely shares its words with what is true of it.

Minimum Bayes risk decoding (Kumar and Byrne 2004; of samples: Eikema and Aziz 2020, arXiv 2005.10283). What the texts
are held against are not each other but the chances of words in the sample's caption (`semi.words`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

CANDIDATES = 5
"""The likeliest text and four that are drawn: eight choose no better."""
WORD = re.compile(r"\w+")


def choose(texts: Sequence[str], chances: Mapping[str, float]) -> str:
    """The text with the highest `expected_f1`; of equals the shorter. The first where no word is expected."""
    scores = [expected_f1(text, chances) for text in texts]
    if not any(scores):
        return texts[0]
    _, best = max(zip(scores, texts, strict=True), key=lambda each: (each[0], -len(_words(each[1]))))
    return best


def expected_f1(text: str, chances: Mapping[str, float]) -> float:
    """F1 of a text's words and a caption's, each counted once, as if each was what is expected of it, from 0 to 1.

    Args:
        chances: of words in lower case to be in the caption; of all others it is 0.
    """
    words = set(_words(text))
    shared = sum(chances.get(word, 0.0) for word in words)
    return 2 * shared / (len(words) + sum(chances.values())) if shared else 0.0


def _words(text: str) -> list[str]:
    return WORD.findall(text.lower())
