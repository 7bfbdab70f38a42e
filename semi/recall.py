"""What was said of like samples: a nearest-neighbour language model over the captions of the support set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor
from torch.nn.functional import normalize

SHARPNESS = (10.0, 20.0, 40.0, 80.0, 160.0)
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

    def summed(self) -> tuple[Tensor, Tensor]:
        """Nats of each answer and the number of its tokens, (n,) and (n,)."""
        answers = len(self.lengths)
        nats = torch.zeros(answers, device=self.nats.device).index_add(0, self.owners, self.nats)
        return nats, torch.tensor(self.lengths, device=self.nats.device)

    @property
    def owners(self) -> Tensor:
        """The answer that each token is of, (a,)."""
        lengths = torch.tensor(self.lengths, device=self.nats.device)
        return torch.arange(len(lengths), device=self.nats.device).repeat_interleave(lengths)


@dataclass(frozen=True, eq=False)
class Recall:
    """The tokens that followed, in the captions of the support set, where the hidden state was most like now.

    Their distribution is mixed with the language model's own: kNN-LM, Khandelwal et al. 2020, arXiv 1911.00172,
    equations 1 to 3, with the distance between states of unit length and all of the few that there are for neighbours.
    The states are those before the captions' tokens when each pair is left out of what the language model is given.

    Attributes:
        keys: hidden states of unit length, (m, d_lm).
        tokens: what followed each, (m,).
        owners: the pair each is of, (m,).
        instructions: what was asked of each pair.
        sharpness: how fast a neighbour's say falls with its distance.
        weight: of the neighbours' distribution; the language model's own has the rest.
    """

    keys: Tensor
    tokens: Tensor
    owners: Tensor
    instructions: tuple[str, ...]
    sharpness: float
    weight: float

    @classmethod
    def fit(cls, told: Told, instructions: Sequence[str]) -> Self | None:
        """Of the captions of a support set, each told with its own pair left out; None where it would help none.

        Sharpness and weight are those with the lowest loss of every caption by all others of the same instruction.
        """
        keys, asked = normalize(told.hidden.float(), dim=1), tuple(instructions)
        if not _others(told.owners, asked).any():
            return None
        tried = (
            cls(keys, told.tokens, told.owners, asked, sharpness, weight)
            for sharpness in SHARPNESS
            for weight in WEIGHTS
        )
        best = min(tried, key=lambda one: float(one.left_out(told).sum()))
        return best if best.weight else None

    def left_out(self, told: Told) -> Tensor:
        """Nats (a,) of the very captions it is of, each recalling those of other pairs; alone, it recalls nothing."""
        others = _others(self.owners, self.instructions)
        alone = ~others.any(1)
        near = (self.sharpness * self.keys @ self.keys.T).masked_fill(~others, -torch.inf)
        near[alone] = 0
        says = (near.softmax(1) * (self.tokens[:, None] == self.tokens)).sum(1)
        return torch.where(alone, told.nats, mixed(told.nats, says, self.weight))

    def asked(self, instruction: str) -> Recall | None:
        """Of the pairs of which this was asked; None where there are none: another question has other answers."""
        if set(self.instructions) == {instruction}:
            return self
        if instruction not in self.instructions:
            return None
        of_pair = torch.tensor([own == instruction for own in self.instructions], device=self.owners.device)
        kept = of_pair[self.owners]
        return replace(self, keys=self.keys[kept], tokens=self.tokens[kept], owners=self.owners[kept])

    def nats(self, told: Told) -> Tensor:
        """Nats (a,) of tokens that are told, once it has its say."""
        says = self._attention(told.hidden) * (told.tokens[:, None] == self.tokens)
        return mixed(told.nats, says.sum(1), self.weight)

    def scores(self, scores: Tensor, hidden: Tensor) -> Tensor:
        """Log-probabilities (vocabulary,) of the next token, of the model's own scores and its hidden state (d_lm,)."""
        own = scores.float().softmax(0).mul_(1 - self.weight)
        says = self.weight * self._attention(hidden[None])[0]
        return own.index_add_(0, self.tokens, says).log()

    def to(self, device: torch.device) -> Recall:
        """The same on another device."""
        return replace(self, keys=self.keys.to(device), tokens=self.tokens.to(device), owners=self.owners.to(device))

    def settings(self) -> dict[str, Any]:
        """JSON-able description."""
        return {"instructions": list(self.instructions), "sharpness": self.sharpness, "weight": self.weight}

    def tensors(self) -> dict[str, Tensor]:
        """What `restore` needs beside the settings, by name."""
        return {"keys": self.keys, "tokens": self.tokens, "owners": self.owners}

    @classmethod
    def shapes(cls, d_lm: int) -> dict[str, tuple[int | None, ...]]:
        """The shape of every tensor, for a language model of width d_lm."""
        return {"keys": (None, d_lm), "tokens": (None,), "owners": (None,)}

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
        return cls(keys, tokens, owners, instructions, float(settings["sharpness"]), float(settings["weight"]))

    def _attention(self, hidden: Tensor) -> Tensor:
        """What each neighbour has to say in the states (a, d_lm), adding up to one: (a, m)."""
        return (self.sharpness * normalize(hidden.float(), dim=1) @ self.keys.T).softmax(1)


def _others(owners: Tensor, instructions: Sequence[str]) -> Tensor:
    """Which tokens each may recall, (m, m): those of other pairs of which the same was asked."""
    places = {instruction: number for number, instruction in enumerate(dict.fromkeys(instructions))}
    asked = torch.tensor([places[instruction] for instruction in instructions], device=owners.device)[owners]
    return (owners[:, None] != owners) & (asked[:, None] == asked)


def mixed(nats: Tensor, says: Tensor, weight: float) -> Tensor:
    """Nats of tokens with probability exp(-nats) mixed with what the neighbours say of them."""
    return -torch.logaddexp(-nats + torch.tensor(1 - weight).log(), (weight * says).log())
