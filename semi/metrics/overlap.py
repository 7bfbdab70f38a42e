"""Overlap with a reference, as the packages score it that the field uses."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from semi.metrics.words import words

_ALPHANUMERIC = re.compile(r"[a-z0-9]+")


def rouge_l(generated: Sequence[str], references: Sequence[str]) -> float:
    """Mean ROUGE-L F-measure, stemmed (Lin 2004, section 3); 0 to 1.

    Equal to that of the package rouge-score, which is no wheel and so cannot be fetched for another platform.
    """
    from nltk.stem.porter import PorterStemmer

    stem = PorterStemmer().stem

    def tokens(text: str) -> list[str]:
        return [stem(word) if len(word) > 3 else word for word in _ALPHANUMERIC.findall(text.lower())]

    scores = [_f_measure(tokens(text), tokens(ref)) for text, ref in zip(generated, references, strict=True)]
    return sum(scores) / len(scores)


def _f_measure(text: list[str], reference: list[str]) -> float:
    """Harmonic mean of the longest common subsequence's shares of both; 0 if they share nothing."""
    common = [0] * (len(reference) + 1)  # the longest one of the words so far and each beginning of the reference
    for word in text:
        before = common
        common = [0]
        for i, other in enumerate(reference):
            common.append(before[i] + 1 if word == other else max(before[i + 1], common[i]))
    return 2 * common[-1] / max(len(text) + len(reference), 1)


def bleu_4(generated: Sequence[str], references: Sequence[str]) -> float:
    """Corpus BLEU of n-grams up to four, lower case, not smoothed, by the package sacrebleu (13a tokens); 0 to 1."""
    from sacrebleu.metrics.bleu import BLEU

    if len(generated) != len(references):
        raise ValueError(f"{len(generated)} texts for {len(references)} references")
    score = BLEU(lowercase=True, smooth_method="none").corpus_score(list(generated), [list(references)]).score
    return float(score) / 100


def meteor(generated: Sequence[str], references: Sequence[str]) -> float:
    """Mean METEOR of exact and stemmed matches, by the package nltk, without WordNet's synonyms; 0 to 1."""
    from nltk.translate.meteor_score import single_meteor_score

    class NoSynonyms:
        def synsets(self, word: str) -> list[Any]:
            return []

    pairs = zip(generated, references, strict=True)
    scores = [single_meteor_score(words(ref), words(text), wordnet=NoSynonyms()) for text, ref in pairs]
    return float(sum(scores) / len(scores))
