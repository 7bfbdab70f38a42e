"""The sentence encoder on its real weights."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from semi.errors import InputError, PairsError
from semi.modality import Encoder

from semi_plugin_text.assets import MINILM
from semi_plugin_text.modality import TextModality

needs_weights = pytest.mark.skipif(not MINILM.present(), reason="run: semi fetch minilm-l6-v2")


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return TextModality().encoder()


@pytest.mark.assets
@needs_weights
def test_meaning_is_near(encoder: Encoder) -> None:
    dog, puppy, bank = encoder.encode(["a small dog", "a puppy", "the interest rate of a bank"])
    assert dog @ puppy > 0.6
    assert dog @ bank < 0.2


@pytest.mark.assets
@needs_weights
@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(st.text(min_size=1, max_size=60), min_size=1, max_size=8))
def test_a_text_does_not_feel_its_batch(encoder: Encoder, texts: list[str]) -> None:
    together = encoder.encode(texts)
    alone = np.concatenate([encoder.encode([text]) for text in texts])
    assert together.dtype == np.float32
    np.testing.assert_allclose(together, alone, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)


@pytest.mark.assets
@needs_weights
def test_order_is_kept_and_long_texts_are_cut(encoder: Encoder) -> None:
    texts = ["word " * 400, "ester", "word " * 500, "a boat", "ester"]
    long, ester, longer, _, again = encoder.encode(texts)
    np.testing.assert_array_equal(long, longer)
    np.testing.assert_array_equal(ester, again)
    assert encoder.encode([]).shape == (0, encoder.width)


@pytest.mark.parametrize("sample", ["", "  \n", None, 3, ["a"]], ids=repr)
def test_what_is_not_a_text_is_refused(sample: object) -> None:
    with pytest.raises(PairsError, match="not a text"):
        TextModality().parse(sample)


def test_white_space_is_made_one_space() -> None:
    assert TextModality().parse(" a  small\nbird ") == "a small bird"


def test_text_is_escaped_in_reports() -> None:
    assert TextModality().draw("<script>") == "<q>&lt;script&gt;</q>"


def test_unknown_encoder_names_the_known() -> None:
    with pytest.raises(InputError) as error:
        TextModality().encoder("mpnet")
    assert "minilm" in str(error.value)
