"""The nearness of texts, and the new fields of an evaluation."""

from __future__ import annotations

import numpy as np
import pytest

from semi.evaluation import evaluate
from semi.foundation import Foundation
from semi.metrics import cosine
from semi.pairs import Pair
from semi.plugins import load_modality
from tests.study.conftest import toy_pairs


class Axes:
    """Each word is an axis of its own, as long as the text."""

    id, width = "axes@1", 3

    def encode(self, samples: list[str]) -> np.ndarray:
        words = ("red", "blue", "cat")
        return np.array([[text.split().count(w) * len(text) for w in words] for text in samples], np.float32)


def test_known_cosines() -> None:
    assert cosine(["red cat"], ["red cat red cat"], Axes()) == pytest.approx(1)
    assert cosine(["red"], ["blue"], Axes()) == 0
    assert cosine(["red cat", "red"], ["red", "red"], Axes()) == pytest.approx((0.5**0.5 + 1) / 2)


def test_a_text_without_words_or_meaning_counts_as_nothing() -> None:
    assert cosine(["", "red"], ["red", "red"], Axes()) == 0.5
    assert cosine([" ", "tree"], ["red", "red"], Axes()) == 0
    with pytest.raises(ValueError, match="2 texts for 1"):
        cosine(["a", "b"], ["a"], Axes())


def test_nats_and_tokens_of_an_evaluation_make_its_loss(tiny_foundation: Foundation) -> None:
    model = tiny_foundation.adapt("vectors", toy_pairs(8, 0), steps=0, diagnose=False)
    vectors = load_modality("vectors")
    held = [Pair(vectors.parse(pair.sample), pair.caption) for pair in toy_pairs(40, 1)]
    scores = evaluate(model, held, text_encoder=tiny_foundation.text_encoder)
    assert sum(scores.nats) / sum(scores.tokens) == pytest.approx(scores.loss)
    assert len(scores.nats) == len(scores.tokens) == 40
    for i in (0, 39):
        alone = evaluate(model, held[i : i + 1], texts=0, text_encoder=tiny_foundation.text_encoder)
        assert alone.nats == pytest.approx([scores.nats[i]], rel=1e-4)
        assert alone.cosine is None
    assert scores.cosine is not None
    assert -1 <= scores.cosine <= 1
    assert evaluate(model, held[:2]).cosine is None
