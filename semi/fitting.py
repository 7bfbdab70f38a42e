"""One method on one support set: beginning, training on any of the pairs, and finding out when to stop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from semi.evaluation import caption_loss
from semi.foundation import Foundation
from semi.methods import Start, Support, start
from semi.pairs import Pair
from semi.settings import Settings
from semi.training.loop import History, Schedule, train

Advance = Callable[[int, str], None]
FOLDS = 4


def _silent(step: int, note: str) -> None:
    pass


@dataclass(frozen=True)
class Fitter:
    """Everything a method needs to start and to train; pairs are named by their index.

    Attributes:
        instructions: one for each pair.
        embeddings: (k, d_enc) or (k, t, d_enc).
        support: of all pairs.
    """

    foundation: Foundation
    settings: Settings
    pairs: Sequence[Pair]
    instructions: Sequence[str]
    embeddings: Tensor
    support: Support

    @property
    def everything(self) -> Tensor:
        """All pairs."""
        return torch.arange(len(self.pairs))

    def begin(self, index: Tensor) -> Start:
        """The method's start on some pairs."""
        subsets = self.settings.subsets
        if len(index) < len(self.pairs):  # fewer pairs than the user gave must not make the subsets too small
            subsets = min(subsets, max(1, len(index) // 2))
        parts = self.support.subset(index), self.foundation.projector, self.foundation.hypernetwork
        return start(self.settings.method, *parts, seed=self.settings.seed, subsets=subsets)

    def fit(
        self,
        begun: Start,
        index: Tensor,
        schedule: Schedule,
        *,
        held_out: Tensor | None = None,
        folder: Path | None = None,
        advance: Advance = _silent,
    ) -> History:
        """Train a start on some pairs, in place; with pairs held out, watch their loss and stop early."""
        model, z = self.foundation.language_model, begun.alignment(self.embeddings[index])
        asked, words = self.words(index)

        def batch_loss(g: torch.Generator) -> Tensor:
            chosen = torch.randperm(len(z), generator=g)[: self.settings.batch].sort().values
            rows = chosen.tolist()
            soft = begun.module.soft(z[chosen.to(z.device)])
            nats, tokens = model.caption_loss(soft, [asked[i] for i in rows], [words[i] for i in rows])
            return nats.sum() / tokens.sum()

        def validate() -> float:
            held = self.everything[:0] if held_out is None else held_out
            return caption_loss(model, self.soft(begun, held), *self.words(held))

        watch = None if held_out is None else validate
        return train(begun.module, batch_loss, schedule, validate=watch, folder=folder, advance=advance)

    def choose_steps(self, folder: Path | None, advance: Advance) -> tuple[int, History]:
        """The number of steps that serves every fourth pair best when the method is trained on the others."""
        held = self.everything % FOLDS == FOLDS - 1
        rest = self.everything[~held]
        if folder:
            folder.mkdir(exist_ok=True)
        history = self.fit(
            self.begin(rest),
            rest,
            self.settings.schedule(),
            held_out=self.everything[held],
            folder=folder,
            advance=advance,
        )
        return int(history.best["step"]), history

    @torch.no_grad()
    def soft(self, begun: Start, index: Tensor) -> Tensor:
        """Soft tokens (n, t, d_lm) of some pairs."""
        return begun.module.soft(begun.alignment(self.embeddings[index]))

    def words(self, index: Tensor) -> tuple[list[str], list[str]]:
        """Instructions and captions of some pairs."""
        rows = index.tolist()
        return [self.instructions[i] for i in rows], [self.pairs[i].caption for i in rows]

    def left_out(self, steps: int) -> tuple[Tensor, str]:
        """Soft tokens (k, t, d_lm) of every pair from an adaptation that has not seen it, and how they came about.

        SEMI's start is refitted without each pair in milliseconds, so it is left out one by one, with no gradient step.
        A baseline is nothing without training: it is trained again, for as many steps, on three quarters of the pairs.
        """
        k, everything = len(self.pairs), self.everything
        if self.settings.method == "semi":
            soft = [self.soft(self.begin(everything[everything != i]), everything[i : i + 1]) for i in range(k)]
            return torch.cat(soft), "leave-one-out, no gradient step"
        parts: dict[int, Tensor] = {}
        folds = min(FOLDS, k)
        for fold in range(folds):
            held, rest = everything[everything % folds == fold], everything[everything % folds != fold]
            begun = self.begin(rest)
            self.fit(begun, rest, self.settings.schedule(steps))
            parts |= dict(zip(held.tolist(), self.soft(begun, held), strict=True))
        return torch.stack([parts[i] for i in range(k)]), f"{folds}-fold, trained again"
