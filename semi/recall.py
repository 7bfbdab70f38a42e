"""What was said of like samples: a nearest-neighbour language model over the captions of the support set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import product, zip_longest
from typing import Any, Self

import torch
from torch import Tensor
from torch.nn.functional import normalize

from semi.candidates import WORD
from semi.words import Words

SHARPNESS = (10.0, 20.0, 40.0, 80.0, 160.0)
TRUST = (0.0, 0.5, 1.0, 1.5)
WEIGHTS = (0.0, 0.2, 0.4, 0.6, 0.7, 0.8, 0.9, 0.95)
"""What `Recall.fit` chooses from."""


@dataclass(frozen=True)
class Told:
    """Answers as a language model would tell them, token by token.

    Attributes:
        hidden: what its output layer reads in front of each token, (a, d_lm).
        nats: of each token, (a,).
        tokens: (a,).
        lengths: tokens of each answer, which stand one after the other.
    """

    hidden: Tensor
    nats: Tensor
    tokens: Tensor
    lengths: list[int]

    @classmethod
    def joined(cls, parts: Sequence[Told]) -> Told:
        """Several, one after the other."""
        hidden, nats, tokens = (
            torch.cat([getattr(part, name) for part in parts]) for name in ("hidden", "nats", "tokens")
        )
        return cls(hidden, nats, tokens, [length for part in parts for length in part.lengths])

    def split(self) -> Iterator[Told]:
        """Each answer by itself."""
        parts = [torch.split(tensor, self.lengths) for tensor in (self.hidden, self.nats, self.tokens)]
        for hidden, nats, tokens in zip(*parts, strict=True):
            yield Told(hidden, nats, tokens, [len(tokens)])

    def summed(self, recall: Sequence[Recollection | None] = ()) -> tuple[Tensor, Tensor]:
        """Nats of each answer and the number of its tokens, (n,) and (n,).

        Args:
            recall: for each answer what has a say in it; nothing where there are fewer.
        """
        nats, answers = self.nats, len(self.lengths)
        if any(recall):
            says = zip_longest(self.split(), recall)
            nats = torch.cat([part.nats if own is None else own.nats(part) for part, own in says])
        summed = torch.zeros(answers, device=nats.device).index_add(0, self.owners, nats)
        return summed, torch.tensor(self.lengths, device=nats.device)

    @property
    def owners(self) -> Tensor:
        """The answer that each token is of, (a,)."""
        lengths = torch.tensor(self.lengths, device=self.nats.device)
        return torch.arange(len(lengths), device=self.nats.device).repeat_interleave(lengths)


@dataclass(frozen=True)
class Constants:
    """How much is made of what is recalled.

    Attributes:
        sharpness: how fast a neighbour's say falls with the distance between hidden states.
        trust: how much of it goes by the words that the sample calls for; 0: all words alike.
        weight: of the neighbours' distribution; the language model's own has the rest.
    """

    sharpness: float
    trust: float
    weight: float


@dataclass(frozen=True, eq=False)
class Recollection:
    """What is recalled of one sample: tokens that followed like states, each with its say in advance.

    Attributes:
        keys: hidden states of unit length, (m, d_lm).
        tokens: what followed each, (m,).
        prior: logarithm of the say of each before any state is compared, (m,).
        chances: of words to be in what is said of the sample.
    """

    keys: Tensor
    tokens: Tensor
    prior: Tensor
    constants: Constants
    chances: Mapping[str, float] = field(default_factory=dict)

    def nats(self, told: Told) -> Tensor:
        """Nats (a,) of tokens that are told, once it has its say."""
        says = self._attention(told.hidden) * (told.tokens[:, None] == self.tokens)
        return _mixed(told.nats, says.sum(1), self.constants.weight)

    def scores(self, scores: Tensor, hidden: Tensor) -> Tensor:
        """Log-probabilities (vocabulary,) of the next token, of the model's own scores and its hidden state (d_lm,)."""
        weight = self.constants.weight
        own = scores.float().softmax(0).mul_(1 - weight)
        return own.index_add_(0, self.tokens, weight * self._attention(hidden[None])[0]).log()

    def _attention(self, hidden: Tensor) -> Tensor:
        """What each neighbour has to say in the states (a, d_lm), adding up to one: (a, m)."""
        near = normalize(hidden.float(), dim=1) @ self.keys.T
        return (self.constants.sharpness * near + self.prior).softmax(1)


@dataclass(frozen=True, eq=False)
class Recall:
    """The tokens that followed, in the captions of the support set, where the hidden state was most like now.

    Their distribution is mixed with the language model's own: kNN-LM, Khandelwal et al. 2020, arXiv 1911.00172,
    equations 1 to 3, with the distance between states of unit length and all of the few that there are for neighbours.
    The states are those before the captions' tokens when each pair is left out of what the language model is given.

    Beside its state, a neighbour has a say by its word: how much likelier the sample makes it than it is in general
    (`semi.words`). A fact goes by all captions that state it, in whatever other words, as in the fast marginal
    adaptation of language models (Kneser, Peters and Klakow 1997).

    Attributes:
        keys: hidden states of unit length, (m, d_lm).
        tokens: what followed each, (m,).
        owners: the pair each is of, (m,).
        words: the word of the captions that each is a part of, by number, (m,).
        vocabulary: these words; empty in an integration of before they were kept.
        called: which words a sample calls for.
        instructions: what was asked of each pair.
        loss: nats a token of the captions, each left out; of the states it was fitted to.
    """

    keys: Tensor
    tokens: Tensor
    owners: Tensor
    words: Tensor
    vocabulary: tuple[str, ...]
    called: Words
    instructions: tuple[str, ...]
    constants: Constants
    loss: float

    @classmethod
    def fit(cls, told: Told, words: Sequence[str], instructions: Sequence[str], samples: Tensor) -> Self | None:
        """Of the captions of a support set, each told with its own pair left out; None where it would help none.

        The constants are those with the lowest loss of every caption by all others of the same instruction.

        Args:
            words: the word that each token is a part of.
            samples: aligned embeddings (k, d).
        """
        owners, keys, tokens = told.owners, normalize(told.hidden.float(), dim=1), told.tokens
        places = {word: number for number, word in enumerate(dict.fromkeys(words))}
        numbers = torch.tensor([places[word] for word in words], device=owners.device)
        occur = torch.zeros(len(instructions), len(places), device=owners.device)
        occur[owners, numbers] = 1
        called, unseen = Words.fit(samples, occur), Words.unseen(samples, occur).to(keys)
        asked = torch.tensor([instructions.index(instruction) for instruction in instructions], device=owners.device)
        tried = list(product(SHARPNESS, TRUST))
        losses = torch.zeros(len(tried), len(WEIGHTS), device=owners.device)
        for pair, caption in enumerate(told.split()):
            others = (owners != pair) & (asked[owners] == asked[pair])
            near, same = keys[owners == pair] @ keys[others].T, caption.tokens[:, None] == tokens[others]
            known = unseen[pair, numbers[others]]
            weights = WEIGHTS if others.any() else (0.0,) * len(WEIGHTS)
            for row, (sharpness, trust) in zip(losses, tried, strict=True):
                says = ((sharpness * near + trust * known).softmax(1) * same).sum(1)
                row += torch.stack([_mixed(caption.nats, says, weight).sum() for weight in weights])
        loss, number = min((loss, number) for number, loss in enumerate(losses.flatten().tolist()))
        (sharpness, trust), weight = tried[number // len(WEIGHTS)], WEIGHTS[number % len(WEIGHTS)]
        if not weight:
            return None
        constants = Constants(sharpness, trust, weight)
        asked_of = tuple(instructions)
        return cls(keys, tokens, owners, numbers, tuple(places), called, asked_of, constants, loss / len(tokens))

    def after(self, told: Told) -> Recall:
        """The same captions as they are told now, after training; constants that fitted before it are kept.

        The language model has been made to tell these captions well, and would be trusted too much.
        """
        return replace(self, keys=normalize(told.hidden.float(), dim=1))

    def of(self, sample: Tensor, instruction: str) -> Recollection | None:
        """What is recalled of an aligned sample (d,); None if the same was asked of no pair: other answers are due."""
        asked = torch.tensor([own == instruction for own in self.instructions], device=self.owners.device)
        if not asked.any():
            return None
        kept = asked[self.owners]
        prior = self.constants.trust * self.called.of(sample[None])[0][self.words]
        chances = self._chances(sample, self.words[kept], float(asked.float().mean()))
        return Recollection(self.keys[kept], self.tokens[kept], prior[kept], self.constants, chances)

    def _chances(self, sample: Tensor, words: Tensor, share: float) -> dict[str, float]:
        """Of words to be in the answer to what was asked of a share of the pairs, by the words of their captions."""
        if not self.vocabulary:
            return {}
        chances = (self.called.chances(sample[None])[0] / share).clamp_max(1).tolist()
        return {self.vocabulary[i]: chances[i] for i in set(words.tolist()) if WORD.fullmatch(self.vocabulary[i])}

    def to(self, device: torch.device) -> Recall:
        """The same on another device."""
        return self.restore(self.settings(), {name: tensor.to(device) for name, tensor in self.tensors().items()})

    def settings(self) -> dict[str, Any]:
        """JSON-able description."""
        words = {"instructions": list(self.instructions), "vocabulary": list(self.vocabulary)}
        return words | {"constants": asdict(self.constants), "loss": self.loss}

    def tensors(self) -> dict[str, Tensor]:
        """What `restore` needs beside the settings, by name."""
        own = {"keys": self.keys, "tokens": self.tokens, "owners": self.owners, "words": self.words}
        return own | {"mean": self.called.mean, "map": self.called.map, "usual": self.called.usual}

    @classmethod
    def shapes(cls, settings: Mapping[str, Any], d: int, d_lm: int) -> dict[str, tuple[int | None, ...]]:
        """The shape of every tensor that belongs to these settings, for aligned samples of width d."""
        of_tokens = dict.fromkeys(("tokens", "owners", "words"), (None,))
        return {"keys": (None, d_lm), **of_tokens, "mean": (d,), "map": (d, None), "usual": (None,)}

    @classmethod
    def restore(cls, settings: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Self:
        """The one that `settings()` and `tensors()` came from.

        Raises:
            ValueError: they do not fit together.
        """
        of_tokens = keys, tokens, owners, words = [tensors[name] for name in ("keys", "tokens", "owners", "words")]
        mean, map, usual = (tensors[name] for name in ("mean", "map", "usual"))
        instructions, vocabulary = tuple(settings["instructions"]), tuple(settings.get("vocabulary", ()))
        numbers = (owners, len(instructions)), (words, len(usual))
        whole = (
            len({len(own) for own in of_tokens}) == 1
            and map.shape[1] == len(usual)
            and len(vocabulary) in (0, len(usual))
            and not bool((tokens < 0).any())
        )
        if not whole or not all(set(own.tolist()) <= set(range(count)) for own, count in numbers):
            raise ValueError("what is recalled does not fit together")
        constants = Constants(**settings["constants"])
        called = Words(mean, map, usual)
        return cls(keys, tokens, owners, words, vocabulary, called, instructions, constants, float(settings["loss"]))


def _mixed(nats: Tensor, says: Tensor, weight: float) -> Tensor:
    """Nats of tokens with probability exp(-nats) mixed with what the neighbours say of them."""
    return -torch.logaddexp(-nats + torch.tensor(1 - weight).log(), (weight * says).log())
