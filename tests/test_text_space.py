"""What captions are embedded in: their meaning, and the language model's words beside it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from semi.language_model import LanguageModel
from semi.plugins import load_modality
from semi.text_space import TextSpace

TEXTS = ["a red cat", "cat red a", "blue", "blue blue blue blue"]


def test_words_are_unit_vectors_of_the_input_embeddings_added_up(language_model: LanguageModel) -> None:
    table = language_model.model.get_input_embeddings().weight.double()
    table = table - table.mean(0)
    for text, found in zip([*TEXTS, ""], language_model.words([*TEXTS, ""]), strict=True):
        ids = language_model.tokenizer.encode(text, add_special_tokens=False)
        expected = sum((table[i] / table[i].norm() for i in ids), torch.zeros_like(table[0])) / max(1, len(ids)) ** 0.5
        torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-6)


def test_a_text_space_is_the_encoder_alone_or_with_words_beside_it(
    language_model: LanguageModel, tiny_text: str
) -> None:
    encoder = load_modality(tiny_text).encoder()
    plain, space = TextSpace(encoder, None), TextSpace(encoder, language_model)
    assert (plain.id, plain.width) == (encoder.id, encoder.width)
    assert space.width == encoder.width + language_model.d_lm
    assert space.id != plain.id
    meaning, both = encoder.encode(TEXTS), space.encode(TEXTS)
    np.testing.assert_array_equal(plain.encode(TEXTS), meaning)
    assert both.shape == (len(TEXTS), space.width)
    assert both.dtype == np.float32
    np.testing.assert_array_equal(both[:, : encoder.width], meaning)
    np.testing.assert_array_equal(both[:, encoder.width :], language_model.words(TEXTS).numpy())
    np.testing.assert_array_equal(space.with_words(meaning, TEXTS), both)


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_alone_is_embedded_as_among_others(language_model: LanguageModel, tiny_text: str, text: str) -> None:
    space = TextSpace(load_modality(tiny_text).encoder(), language_model)
    np.testing.assert_array_equal(space.encode([text])[0], space.encode(TEXTS)[TEXTS.index(text)])
