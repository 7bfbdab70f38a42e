from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semi.metrics import attribute_accuracy, rouge_l, vocabulary

VALUES = {"family": {"acid", "amino acid", "ester"}, "size": {"small", "large"}}


@pytest.mark.parametrize(
    ("text", "truth", "share"),
    [
        ("a small ester", {"family": "ester", "size": "small"}, 1.0),
        ("A SMALL Ester.", {"family": "ester", "size": "small"}, 1.0),
        ("a large ester", {"family": "ester", "size": "small"}, 0.5),
        ("a small or large ester", {"family": "ester", "size": "small"}, 0.5),
        ("an amino acid", {"family": "amino acid"}, 1.0),
        ("an amino acid", {"family": "acid"}, 0.0),
        ("an acid and an amino acid", {"family": "amino acid"}, 0.0),
        ("a polyester", {"family": "ester"}, 0.0),
        ("", {"family": "ester"}, 0.0),
    ],
)
def test_an_attribute_counts_if_it_is_stated_and_stated_alone(text: str, truth: dict[str, str], share: float) -> None:
    assert attribute_accuracy([text], [truth], VALUES) == share


def test_a_value_unknown_to_the_vocabulary_still_counts() -> None:
    assert attribute_accuracy(["a ketone"], [{"family": "ketone"}], VALUES) == 1.0
    assert attribute_accuracy(["a ketone"], [{"colour": "red"}], {}) == 0.0


def test_without_attributes_there_is_no_accuracy() -> None:
    assert attribute_accuracy(["text"], [{}], {}) is None


def test_attributes_are_weighed_alike() -> None:
    truths = [{"family": "ester", "size": "small"}, {"family": "acid"}]
    assert attribute_accuracy(["small ester", "ester"], truths, VALUES) == pytest.approx(2 / 3)


@given(st.lists(st.dictionaries(st.sampled_from("abc"), st.sampled_from("xyz")), max_size=5))
def test_the_vocabulary_holds_every_value(rows: list[dict[str, str]]) -> None:
    values = vocabulary(rows)
    assert {(s, v) for s, vs in values.items() for v in vs} == {item for row in rows for item in row.items()}


def test_rouge_l_is_the_longest_common_subsequence() -> None:
    assert rouge_l(["the cat sat"], ["the cat sat"]) == 1.0
    assert rouge_l(["nothing alike"], ["the cat sat"]) == 0.0
    assert rouge_l(["the red cat"], ["the cat sat down"]) == pytest.approx(2 * 2 / (3 + 4))
    assert rouge_l(["cats", "nothing"], ["cat", "dog"]) == 0.5  # stemmed; the mean over texts
