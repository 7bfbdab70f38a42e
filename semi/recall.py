"""What was said of like samples: a nearest-neighbour language model over the captions of the support set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product, zip_longest
from typing import Any, Self

import torch
from torch import Tensor
from torch.nn.functional import normalize

from semi.ridge import Ridge

SHARPNESS = (10.0, 20.0, 40.0, 80.0, 160.0)
TRUST = (0.0, 0.5, 1.0, 1.5)
WEIGHTS = (0.0, 0.2, 0.4, 0.6, 0.7, 0.8, 0.9, 0.95)
"""What `Recall.fit` chooses from."""
LEAST = 0.01
"""The share of a sample that another one is not made of at all."""


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
        trust: how much of it goes by the sample that its caption is of; 0: all samples alike.
        weight: of the neighbours' distribution; the language model's own has the rest.
    """

    sharpness: float
    trust: float
    weight: float


@dataclass(frozen=True, eq=False)
class Shares:
    """What part each sample of the support set has in what ridge regression predicts of a new one's caption.

    The prediction is linear in the captions of the support set: a sum of them with weights that add up to one.

    Attributes:
        mean: of the aligned support, (d,).
        map: a sample's deviation from it to what its weights differ from 1 / k by, (d, k).
    """

    mean: Tensor
    map: Tensor

    @classmethod
    def fit(cls, samples: Tensor, texts: Tensor) -> tuple[Self, Tensor]:
        """Of aligned samples (k, d) and caption embeddings (k, d_text); and what is `of` each if its pair were new."""
        ridge = Ridge.fit(samples.cpu(), texts.cpu())
        ridge = replace(ridge, texts=torch.eye(len(samples), dtype=torch.float64))  # captions by number
        return cls(ridge.mean.float(), ridge.map.float()), _logarithm(ridge.predict_unseen(samples.cpu()).float())

    def of(self, samples: Tensor) -> Tensor:
        """Logarithms (q, k) of the shares in aligned samples (q, d); none is less than LEAST."""
        return _logarithm((samples.to(self.map) - self.mean) @ self.map + 1 / self.map.shape[1])


@dataclass(frozen=True, eq=False)
class Recollection:
    """What is recalled of one sample: tokens that followed like states, each with its say in advance.

    Attributes:
        keys: hidden states of unit length, (m, d_lm).
        tokens: what followed each, (m,).
        prior: logarithm of the say of each before any state is compared, (m,).
    """

    keys: Tensor
    tokens: Tensor
    prior: Tensor
    constants: Constants

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

    Beside its state, a neighbour has a say by its sample, as large as the part that it has in what ridge regression
    predicts of the caption: a fact is voted on, not copied from the one sample most like it.

    Attributes:
        keys: hidden states of unit length, (m, d_lm).
        tokens: what followed each, (m,).
        owners: the pair each is of, (m,).
        shares: of the pairs' samples.
        instructions: what was asked of each pair.
        loss: nats a token of the captions, each left out; of the states it was fitted to.
    """

    keys: Tensor
    tokens: Tensor
    owners: Tensor
    shares: Shares
    instructions: tuple[str, ...]
    constants: Constants
    loss: float

    @classmethod
    def fit(cls, told: Told, instructions: Sequence[str], samples: Tensor, texts: Tensor) -> Self | None:
        """Of the captions of a support set, each told with its own pair left out; None where it would help none.

        The constants are those with the lowest loss of every caption by all others of the same instruction.

        Args:
            samples: aligned embeddings (k, d).
            texts: embeddings of the captions (k, d_text).
        """
        others = _others(told.owners, instructions)
        if not others.any():
            return None
        shares, unseen = Shares.fit(samples, texts)
        prior = unseen.to(told.hidden.device)[told.owners][:, told.owners]  # (a, a)
        keys, same = normalize(told.hidden.float(), dim=1), told.tokens[:, None] == told.tokens
        near, alone = keys @ keys.T, ~others.any(1)
        losses: dict[Constants, float] = {}
        for sharpness, trust in product(SHARPNESS, TRUST):
            scores = (sharpness * near + trust * prior).masked_fill(~others, -torch.inf)
            scores[alone] = 0
            says = (scores.softmax(1) * same).sum(1)
            for weight in WEIGHTS:
                nats = torch.where(alone, told.nats, _mixed(told.nats, says, weight))
                losses[Constants(sharpness, trust, weight)] = float(nats.mean())
        best = min(losses, key=losses.__getitem__)
        if not best.weight:
            return None
        return cls(keys, told.tokens, told.owners, shares, tuple(instructions), best, losses[best])

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
        prior = self.constants.trust * self.shares.of(sample[None])[0][self.owners]
        return Recollection(self.keys[kept], self.tokens[kept], prior[kept], self.constants)

    def to(self, device: torch.device) -> Recall:
        """The same on another device."""
        shares = Shares(self.shares.mean.to(device), self.shares.map.to(device))
        keys, tokens, owners = (tensor.to(device) for tensor in (self.keys, self.tokens, self.owners))
        return replace(self, keys=keys, tokens=tokens, owners=owners, shares=shares)

    def settings(self) -> dict[str, Any]:
        """JSON-able description."""
        return {"instructions": list(self.instructions), "constants": asdict(self.constants), "loss": self.loss}

    def tensors(self) -> dict[str, Tensor]:
        """What `restore` needs beside the settings, by name."""
        own = {"keys": self.keys, "tokens": self.tokens, "owners": self.owners}
        return own | {"mean": self.shares.mean, "map": self.shares.map}

    @classmethod
    def shapes(cls, settings: Mapping[str, Any], d: int, d_lm: int) -> dict[str, tuple[int | None, ...]]:
        """The shape of every tensor that belongs to these settings, for aligned samples of width d."""
        pairs = len(settings["instructions"])
        return {"keys": (None, d_lm), "tokens": (None,), "owners": (None,), "mean": (d,), "map": (d, pairs)}

    @classmethod
    def restore(cls, settings: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Self:
        """The one that `settings()` and `tensors()` came from.

        Raises:
            ValueError: they do not fit together.
        """
        keys, tokens, owners = (tensors[name] for name in ("keys", "tokens", "owners"))
        instructions = tuple(settings["instructions"])
        whole = len(keys) == len(tokens) == len(owners)
        if not whole or not set(owners.tolist()) <= set(range(len(instructions))) or bool((tokens < 0).any()):
            raise ValueError("what is recalled does not fit together")
        constants = Constants(**settings["constants"])
        shares = Shares(tensors["mean"], tensors["map"])
        return cls(keys, tokens, owners, shares, instructions, constants, float(settings["loss"]))


def _others(owners: Tensor, instructions: Sequence[str]) -> Tensor:
    """Which tokens each may recall, (m, m): those of other pairs of which the same was asked."""
    places = {instruction: number for number, instruction in enumerate(dict.fromkeys(instructions))}
    asked = torch.tensor([places[instruction] for instruction in instructions], device=owners.device)[owners]
    return (owners[:, None] != owners) & (asked[:, None] == asked)


def _logarithm(shares: Tensor) -> Tensor:
    return (shares.clamp_min(0) + LEAST).log()


def _mixed(nats: Tensor, says: Tensor, weight: float) -> Tensor:
    """Nats of tokens with probability exp(-nats) mixed with what the neighbours say of them."""
    return -torch.logaddexp(-nats + torch.tensor(1 - weight).log(), (weight * says).log())
