"""The encoder "ngrams": letters side by side."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from semi_plugin_text.modality import TextModality
from semi_plugin_text.ngrams import WIDTH, NGrams, ngrams, signs

PINNED = [1, -1, -1, 1, -1, -1, -1, 1, 1, 1, 1, 1, 1, -1, -1, -1]
FIRST = (-0.0161618, -0.0377108, 0.0269363, -0.0269363)


def test_ngrams_of_a_word() -> None:
    assert dict(ngrams("Abc abc")) == {
        " abc": 2, "<ab": 2, "abc": 2, "bc>": 2, "<abc": 2, "abc>": 2, "<abc>": 2,
    }  # fmt: skip


def test_inner_products_are_those_of_the_counts() -> None:
    texts = ["polyester of two acids", "an ester of acetic acid", "three dogs running", "dogs that run fast"]
    counts = [{gram: 1 + np.log(count) for gram, count in ngrams(text).items()} for text in texts]
    lengths = [np.sqrt(sum(value**2 for value in found.values())) for found in counts]
    exact = [
        [
            sum(value * b.get(gram, 0) for gram, value in a.items()) / (m * n)
            for b, n in zip(counts, lengths, strict=True)
        ]
        for a, m in zip(counts, lengths, strict=True)
    ]
    x = TextModality().encoder("ngrams").encode(texts)
    assert (x.shape, x.dtype) == ((4, WIDTH), np.float32)
    np.testing.assert_allclose(x @ x.T, exact, atol=0.08)  # 3.6 deviations of a projection to 2048 signs
    assert exact[0][1] > 0.25
    assert exact[0][2] < 0.02


def test_the_numbers_stay_the_same() -> None:
    """They are pinned: another Python, numpy or machine must give them too."""
    assert signs("<ester")[:16].tolist() == PINNED
    np.testing.assert_allclose(NGrams().encode(["an ester"])[0, :4], FIRST, rtol=1e-5)


@settings(max_examples=30)
@given(st.lists(st.text(min_size=1, max_size=40).filter(str.strip), min_size=1, max_size=5))
def test_a_text_does_not_feel_its_batch(texts: list[str]) -> None:
    together = NGrams().encode(texts)
    alone = np.concatenate([NGrams().encode([text]) for text in texts])
    assert together.tobytes() == alone.tobytes()
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
