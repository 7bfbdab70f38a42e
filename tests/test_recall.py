"""A nearest-neighbour language model over the captions."""

import math
from dataclasses import replace
from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import normalize

from semi.recall import SHARPNESS, TRUST, WEIGHTS, Constants, Recall, Recollection, Told
from semi.words import Words

VOCABULARY = 11


def told(seed: int, lengths: list[int], d: int = 6) -> Told:
    g = torch.Generator().manual_seed(seed)
    n = sum(lengths)
    logits = torch.randn(n, VOCABULARY, generator=g)
    tokens = torch.randint(VOCABULARY, (n,), generator=g)
    nats = torch.nn.functional.cross_entropy(logits, tokens, reduction="none")
    return Told(torch.randn(n, d, generator=g), nats, tokens, lengths)


def recollection(seed: int = 0, weight: float = 0.6, sharpness: float = 20.0) -> Recollection:
    own = told(seed, [3, 4, 2])
    prior = torch.randn(9, generator=torch.Generator().manual_seed(seed))
    return Recollection(normalize(own.hidden, dim=1), own.tokens, prior, Constants(sharpness, 1.0, weight))


def fitted(own: Told, asked: list[str]) -> Recall | None:
    return Recall.fit(own, spelled(own), asked, samples(len(asked)))


def samples(k: int) -> Tensor:
    return torch.randn(k, 5, generator=torch.Generator().manual_seed(0))


def spelled(own: Told) -> list[str]:
    """Two tokens to a word."""
    return [f"word {token // 2}" for token in own.tokens.tolist()]


def alike(captions: int) -> Told:
    """Captions of the same four tokens, told alike."""
    own = told(0, [4] * captions)
    hidden, tokens = own.hidden[:4].repeat(captions, 1), torch.arange(4).repeat(captions)
    return replace(own, tokens=tokens, hidden=hidden, nats=own.nats * 0 + 3)


def probability(one: Recollection, hidden: Tensor, own: Tensor, token: int) -> float:
    """By the definition, in float64 and one by one."""
    state, constants = hidden.double() / hidden.double().norm(), one.constants
    says = [
        math.exp(constants.sharpness * float(key.double() @ state) + float(prior))
        for key, prior in zip(one.keys, one.prior, strict=True)
    ]
    said = sum(say for say, t in zip(says, one.tokens.tolist(), strict=True) if t == token)
    return (1 - constants.weight) * own.double().softmax(0)[token].item() + constants.weight * said / sum(says)


@given(st.integers(0, 10**6), st.floats(0.05, 0.95), st.sampled_from(SHARPNESS))
@settings(max_examples=30, deadline=None)
def test_probabilities_are_those_of_the_definition_and_add_up_to_one(seed, weight, sharpness):
    one = recollection(seed, weight, sharpness)
    g = torch.Generator().manual_seed(seed + 1)
    own, hidden = torch.randn(VOCABULARY, generator=g), torch.randn(6, generator=g)
    found = one.scores(own, hidden).double().exp()
    assert found.sum().item() == pytest.approx(1, abs=1e-5)
    for token in range(VOCABULARY):
        assert found[token].item() == pytest.approx(probability(one, hidden, own, token), abs=1e-5)


@given(st.integers(0, 10**6))
@settings(max_examples=20, deadline=None)
def test_losses_and_scores_are_of_one_distribution(seed):
    one = recollection(seed)
    g = torch.Generator().manual_seed(seed + 1)
    logits, hidden = torch.randn(5, VOCABULARY, generator=g), torch.randn(5, 6, generator=g)
    tokens = torch.randint(VOCABULARY, (5,), generator=g)
    nats = torch.nn.functional.cross_entropy(logits, tokens, reduction="none")
    found = one.nats(Told(hidden, nats, tokens, [2, 3]))
    for i in range(5):
        assert found[i].item() == pytest.approx(-one.scores(logits[i], hidden[i])[tokens[i]].item(), abs=1e-4)


def test_the_loss_is_that_of_captions_left_out_at_the_best_constants():
    own, asked = told(1, [4] * 12), ["Describe it."] * 12
    own = replace(own, hidden=own.hidden + 2 * own.hidden[:4].repeat(12, 1), tokens=own.tokens % 3)
    found = fitted(own, asked)
    assert found is not None

    words = spelled(own)
    numbers = [[*dict.fromkeys(words)].index(word) for word in words]
    occur = torch.zeros(12, len(set(words)))
    occur[own.owners, numbers] = 1
    unseen = Words.unseen(samples(12), occur)

    def loss(constants: Constants) -> float:
        total = 0.0
        for answer, part in enumerate(own.split()):
            apart = own.owners != answer
            prior = constants.trust * unseen[answer][torch.tensor(numbers)[apart]]
            rest = Recollection(normalize(own.hidden, dim=1)[apart], own.tokens[apart], prior, constants)
            total += float(rest.nats(part).sum())
        return total / len(own.tokens)

    assert found.loss == pytest.approx(loss(found.constants), rel=1e-5)
    tried = product(SHARPNESS, TRUST, WEIGHTS)
    assert found.loss == pytest.approx(min(loss(Constants(*constants)) for constants in tried), rel=1e-5)


def test_captions_that_are_all_alike_leave_the_language_model_nothing_to_say():
    found = fitted(alike(12), ["Describe it."] * 12)
    assert found is not None
    assert found.constants.weight == max(WEIGHTS)


def test_after_training_the_states_are_new_and_the_constants_those_of_before():
    found, again = fitted(alike(12), ["Describe it."] * 12), told(5, [4] * 12)
    assert found is not None
    after = found.after(again)
    torch.testing.assert_close(after.keys, normalize(again.hidden, dim=1))
    assert after.constants == found.constants


def test_nothing_is_recalled_where_captions_have_nothing_in_common():
    own = told(0, [3] * 8)
    own = replace(own, tokens=torch.arange(24), nats=own.nats * 0 + 2)
    assert fitted(own, ["Describe it."] * 8) is None


def test_nothing_is_recalled_of_pairs_that_were_all_asked_something_else():
    assert fitted(told(0, [3] * 4), ["one?", "two?", "three?", "four?"]) is None


def test_another_question_has_other_answers():
    found = fitted(alike(6), ["Where?", "Who?", "Where?", "Who?", "Where?", "Who?"])
    assert found is not None
    sample = samples(1)[0]
    assert found.of(sample, "Why?") is None
    where = found.of(sample, "Where?")
    assert where is not None
    assert len(where.tokens) == len(where.prior) == 12


@pytest.mark.parametrize(
    "damage",
    [
        lambda tensors: tensors | {"tokens": tensors["tokens"][:-1]},
        lambda tensors: tensors | {"owners": tensors["owners"] + 1},
        lambda tensors: tensors | {"words": tensors["words"] + 1},
        lambda tensors: tensors | {"usual": tensors["usual"][:-1]},
        lambda tensors: tensors | {"tokens": tensors["tokens"] - VOCABULARY},
    ],
)
def test_what_does_not_fit_together_is_refused(damage):
    one = fitted(alike(6), ["Describe it."] * 6)
    assert one is not None
    again = Recall.restore(one.settings(), one.tensors())
    assert again.settings() == one.settings()
    assert torch.equal(again.keys, one.keys)
    assert {name: tuple(tensor.shape) for name, tensor in one.tensors().items()}.keys() == Recall.shapes(
        one.settings(), 5, 6
    ).keys()
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
