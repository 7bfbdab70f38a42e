"""A nearest-neighbour language model over the captions."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import normalize

from semi.recall import SHARPNESS, WEIGHTS, Recall, Told

VOCABULARY = 11


def told(seed: int, lengths: list[int], d: int = 6) -> Told:
    g = torch.Generator().manual_seed(seed)
    n = sum(lengths)
    logits = torch.randn(n, VOCABULARY, generator=g)
    tokens = torch.randint(VOCABULARY, (n,), generator=g)
    nats = torch.nn.functional.cross_entropy(logits, tokens, reduction="none")
    return Told(torch.randn(n, d, generator=g), nats, tokens, lengths)


def recall(seed: int = 0, weight: float = 0.6, sharpness: float = 20.0) -> Recall:
    own = told(seed, [3, 4, 2])
    keys = normalize(own.hidden, dim=1)
    return Recall(keys, own.tokens, own.owners, ("Describe it.",) * 3, sharpness, weight)


def probability(one: Recall, hidden: torch.Tensor, own: torch.Tensor, token: int) -> float:
    """By the definition, in float64 and one by one."""
    state = hidden.double() / hidden.double().norm()
    powers = [torch.exp(one.sharpness * (key.double() @ state)).item() for key in one.keys]
    said = sum(p for p, t in zip(powers, one.tokens.tolist(), strict=True) if t == token)
    return (1 - one.weight) * own.double().softmax(0)[token].item() + one.weight * said / sum(powers)


@given(st.integers(0, 10**6), st.floats(0.05, 0.95), st.sampled_from(SHARPNESS))
@settings(max_examples=30, deadline=None)
def test_probabilities_are_those_of_the_definition_and_add_up_to_one(seed, weight, sharpness):
    one = recall(seed, weight, sharpness)
    g = torch.Generator().manual_seed(seed + 1)
    own, hidden = torch.randn(VOCABULARY, generator=g), torch.randn(6, generator=g)
    found = one.scores(own, hidden).double().exp()
    assert found.sum().item() == pytest.approx(1, abs=1e-5)
    for token in range(VOCABULARY):
        assert found[token].item() == pytest.approx(probability(one, hidden, own, token), abs=1e-5)


@given(st.integers(0, 10**6))
@settings(max_examples=20, deadline=None)
def test_losses_and_scores_are_of_one_distribution(seed):
    one = recall(seed)
    g = torch.Generator().manual_seed(seed + 1)
    logits, hidden = torch.randn(5, VOCABULARY, generator=g), torch.randn(5, 6, generator=g)
    tokens = torch.randint(VOCABULARY, (5,), generator=g)
    nats = torch.nn.functional.cross_entropy(logits, tokens, reduction="none")
    found = one.nats(Told(hidden, nats, tokens, [2, 3]))
    for i in range(5):
        assert found[i].item() == pytest.approx(-one.scores(logits[i], hidden[i])[tokens[i]].item(), abs=1e-4)


def test_constants_are_the_best_for_captions_that_are_left_out():
    own, asked = told(0, [4] * 12), ["Describe it."] * 12
    own = replace(own, tokens=torch.arange(4).repeat(12), hidden=own.hidden[:4].repeat(12, 1), nats=own.nats * 0 + 3)
    found = Recall.fit(own, asked)
    assert found is not None
    assert found.weight == max(WEIGHTS)

    def loss(sharpness: float, weight: float) -> float:
        total = 0.0
        for answer in range(12):
            apart = own.owners != answer
            keys = normalize(own.hidden, dim=1)[apart]
            rest = Recall(keys, own.tokens[apart], own.owners[apart], tuple(asked), sharpness, weight)
            total += float(rest.nats(list(own.split())[answer]).sum())
        return total

    least = min(loss(sharpness, weight) for sharpness in SHARPNESS for weight in WEIGHTS)
    assert loss(found.sharpness, found.weight) == pytest.approx(least, rel=1e-5)


def test_nothing_is_recalled_where_captions_have_nothing_in_common():
    own = told(0, [3] * 8)
    own = replace(own, tokens=torch.arange(24), nats=own.nats * 0 + 2)
    assert Recall.fit(own, ["Describe it."] * 8) is None


def test_nothing_is_recalled_of_pairs_that_were_all_asked_something_else():
    assert Recall.fit(told(0, [3] * 4), ["one?", "two?", "three?", "four?"]) is None


def test_another_question_has_other_answers():
    one = replace(recall(), instructions=("Where?", "Who?", "Where?"))
    assert one.asked("Why?") is None
    found = one.asked("Where?")
    assert found is not None
    assert set(found.owners.tolist()) == {0, 2}
    assert recall().asked("Describe it.") is not None


@pytest.mark.parametrize(
    "damage",
    [
        lambda tensors: tensors | {"tokens": tensors["tokens"][:-1]},
        lambda tensors: tensors | {"owners": tensors["owners"] + 1},
        lambda tensors: tensors | {"tokens": tensors["tokens"] - VOCABULARY},
    ],
)
def test_what_does_not_fit_together_is_refused(damage):
    one = recall()
    again = Recall.restore(one.settings(), one.tensors())
    assert again.settings() == one.settings()
    assert torch.equal(again.keys, one.keys)
    with pytest.raises(ValueError, match="fit together"):
        Recall.restore(one.settings(), damage(one.tensors()))


def test_told_is_split_and_joined():
    own = told(3, [2, 1, 4])
    again = Told.joined(list(own.split()))
    assert again.lengths == own.lengths
    assert torch.equal(again.hidden, own.hidden)
    nats, tokens = own.summed()
    assert tokens.tolist() == [2, 1, 4]
    assert nats[1].item() == pytest.approx(own.nats[2].item())
