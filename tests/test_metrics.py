from __future__ import annotations

import json
import math
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from semi.metrics import attribute_accuracy, bleu_4, cider_d, meteor, rouge_l, vocabulary

PIECES = st.sampled_from([*"abeginst  -19,É\n", "ring", "rings", "running", "ester", "flies"])
TEXTS = st.lists(PIECES, max_size=20).map("".join)
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


@given(TEXTS, TEXTS)
def test_rouge_l_is_that_of_the_package(text: str, reference: str) -> None:
    score = RougeScorer(["rougeL"], use_stemmer=True).score(reference, text)["rougeL"].fmeasure
    assert rouge_l([text], [reference]) == pytest.approx(score)


ORACLE = json.loads((Path(__file__).parent / "data" / "cider.json").read_text())
SENTENCES = st.lists(
    st.lists(st.sampled_from(["red", "dog", "a", "house", "rings"]), max_size=9).map(" ".join), min_size=2
)


@pytest.mark.parametrize("case", ORACLE["cases"], ids=lambda case: f"{len(case['references'])}-texts")
def test_cider_d_equals_that_of_its_authors(case: dict[str, Any]) -> None:
    assert cider_d(case["generated"], case["references"]) == pytest.approx(case["cider_d"], abs=1e-12)


@given(SENTENCES, st.randoms(use_true_random=False))
def test_no_text_scores_better_than_the_reference(references: list[str], random: Random) -> None:
    texts = random.sample(references, len(references))
    for metric, best in ((cider_d, 10.0), (bleu_4, 1.0), (meteor, 1.0), (rouge_l, 1.0)):
        exact = metric(references, references)
        assert -1e-9 <= metric(texts, references) <= exact + 1e-9 <= best + 2e-9


def test_rare_words_weigh_more() -> None:
    references = ["a dog runs here", "a dog sits down", "a dog eats bread"]
    assert cider_d(["runs", "sits", "eats"], references) > cider_d(["dog", "dog", "dog"], references) == 0.0


def test_case_and_punctuation_do_not_count() -> None:
    for metric in (cider_d, meteor):
        assert metric(["A dog, ring-shaped.", "Two cats"], ["a dog ring-shaped", "two cats"]) == metric(
            ["a dog ring-shaped", "two cats"], ["a dog ring-shaped", "two cats"]
        )


def test_bleu_is_of_the_corpus() -> None:
    texts = ["a small red dog on the house"] * 3
    references = ["a small red dog on the house", "a small red dog in the house", "the large red dog on the house"]
    precisions = [(7 + 6 + 5) / 21, (6 + 4 + 4) / 18, (5 + 2 + 3) / 15, (4 + 1 + 2) / 12]
    assert bleu_4(texts, references) == pytest.approx(math.prod(precisions) ** 0.25)


def test_meteor_matches_stems() -> None:
    assert meteor(["cats run"], ["cat runs"]) == pytest.approx(meteor(["cat runs"], ["cat runs"]))
    assert meteor(["nothing alike"], ["the cat"]) == 0.0
