"""CIDEr-D: agreement of n-grams, rare ones weighing more (Vedantam et al. 2015, arXiv 1411.5726, section 4)."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from semi.metrics.words import words

ORDERS = (1, 2, 3, 4)
SIGMA = 6.0
"""Width, in words, of the penalty on a length that differs from the reference's."""

NGram = tuple[str, ...]


def cider_d(generated: Sequence[str], references: Sequence[str]) -> float:
    """Mean CIDEr-D of texts with one reference each; 0 to 10.

    Document frequencies are those of `references`, so scores compare only on the same held-out set. As in the authors'
    code the length of a text is its number of word pairs.
    """
    targets = [_counts(words(text)) for text in references]
    documents = Counter(gram for counts in targets for by_order in counts for gram in by_order)
    log_n = math.log(len(references))
    weight = {gram: log_n - math.log(n) for gram, n in documents.items()}
    scores = [
        _score(_counts(words(text)), target, weight, log_n) for text, target in zip(generated, targets, strict=True)
    ]
    return sum(scores) / len(scores)


def _counts(tokens: list[str]) -> list[Counter[NGram]]:
    """The n-grams of each order."""
    return [Counter(zip(*(tokens[i:] for i in range(n)), strict=False)) for n in ORDERS]


def _score(
    text: list[Counter[NGram]], reference: list[Counter[NGram]], weight: dict[NGram, float], unseen: float
) -> float:
    pairs_apart = text[1].total() - reference[1].total()
    penalty = math.exp(-(pairs_apart**2) / (2 * SIGMA**2))
    cosines = []
    for ours, theirs in zip(text, reference, strict=True):
        u = {gram: n * weight.get(gram, unseen) for gram, n in ours.items()}
        v = {gram: n * weight[gram] for gram, n in theirs.items()}
        clipped = sum(min(u[gram], v[gram]) * v[gram] for gram in u.keys() & v.keys())
        lengths = math.sqrt(sum(x * x for x in u.values()) * sum(x * x for x in v.values()))
        cosines.append(clipped / lengths if lengths else 0.0)
    return 10 * penalty * sum(cosines) / len(cosines)
