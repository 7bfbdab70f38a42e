"""Overlap with a reference, by the packages the field uses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from semi.metrics.words import words


def rouge_l(generated: Sequence[str], references: Sequence[str]) -> float:
    """Mean ROUGE-L F-measure, stemmed, by the package rouge-score; 0 to 1."""
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rougeL"], use_stemmer=True)
    scores = [scorer.score(ref, text)["rougeL"].fmeasure for text, ref in zip(generated, references, strict=True)]
    return float(sum(scores) / len(scores))


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
