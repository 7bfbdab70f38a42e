"""Which words a sample calls for: ridge regression of whether each occurs in its caption."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from semi.candidates import WORD
from semi.ridge import Spectrum

LEAST = 0.05
"""Added to every chance: no word is ever ruled out."""
FOLDS = 32
"""Fits that leave pairs out, at most."""


def words_of(tokenizer: Any, answer: str, tokens: Sequence[int]) -> list[str]:
    """For each token of an answer the word that it is a part of, in lower case; what is no word is itself."""
    spans = [(found.start(), found.end(), found.group().lower()) for found in WORD.finditer(answer)]
    words, begin = [], 0
    for i, token in enumerate(tokens, start=1):
        end = len(tokenizer.decode(tokens[:i], clean_up_tokenization_spaces=False))
        own = [word for first, last, word in spans if first < end and last > begin]
        words.append(own[0] if own else tokenizer.decode([token]).strip())
        begin = end
    return words


@dataclass(frozen=True, eq=False)
class Words:
    """How much likelier a sample makes each word of the captions than they do on the whole.

    Every word has a ridge regression of its own, from aligned samples to whether it occurs, with the penalty that
    predicts left-out captions best: a word that no sample calls for stays as likely as it is.

    Attributes:
        mean: of the aligned support, (d,).
        map: a sample's deviation from it to what the words' chances differ from the usual ones by, (d, v).
        usual: share of the captions that have each word, (v,).
    """

    mean: Tensor
    map: Tensor
    usual: Tensor

    @classmethod
    def fit(cls, samples: Tensor, occur: Tensor) -> Self:
        """Of aligned samples (k, d) and ones where captions have a word, (k, v)."""
        spectrum, occur = Spectrum.of(samples.cpu()), occur.cpu().double()
        usual = occur.mean(0)
        errors = [left_out.square().sum(0) for left_out in spectrum.left_out(occur - usual)]
        best = torch.tensor(spectrum.penalties, dtype=torch.float64)[torch.stack(errors).argmin(0)]  # (v,)
        map = spectrum.map(best, occur - usual)
        return cls(spectrum.mean.float(), map.float(), usual.float())

    @classmethod
    def unseen(cls, samples: Tensor, occur: Tensor) -> Tensor:
        """What is `of` each pair by a fit, penalties and all, without it; of many by one without a few: (k, v).

        With penalties that a caption has had a part in, words that nothing can predict would seem predictable in it.
        """
        fold = torch.arange(len(samples)) % FOLDS
        lifts = torch.empty(occur.shape)
        for number in range(min(FOLDS, len(samples))):
            out = fold == number
            lifts[out] = cls.fit(samples[~out], occur[~out]).of(samples[out].cpu())
        return lifts

    def of(self, samples: Tensor) -> Tensor:
        """Logarithms (q, v) of how many times as likely aligned samples (q, d) make each word."""
        return ((self.chances(samples) + LEAST) / (self.usual + LEAST)).log()

    def chances(self, samples: Tensor) -> Tensor:
        """Of each word to be in the captions of aligned samples (q, d): (q, v)."""
        return (self.usual + (samples.to(self.map) - self.mean) @ self.map).clamp(0, 1)
