"""One method on one support set: beginning, training on any of the pairs, and finding out when to stop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from semi.evaluation import caption_loss, spans
from semi.examples import Examples
from semi.foundation import Foundation
from semi.methods import DEFAULTS, EXAMPLES, READERS, Start, Support, start
from semi.pairs import Pair
from semi.prompts import Turn
from semi.recall import Recall, Told
from semi.settings import FEWEST_TO_HOLD_OUT, Settings
from semi.training.loop import History, Schedule, train

Advance = Callable[[int, str], None]
SEARCH = "finding the number of steps"
"""The phase of `Fitter.choose_steps`."""
FOLDS = 4
MOST_TO_WATCH = 64
"""Pairs held out of many."""
MOST_TO_RECALL = 256
"""Pairs whose captions are recalled."""
MOST_TO_CHOOSE_ON = 16
"""Pairs that say how many examples to show: more would take longer and choose the same."""


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

    def parts(self) -> tuple[Tensor, Tensor | None]:
        """The pairs to begin with, and those held out of many to tell the best weights."""
        if not self.settings.keeps_best(len(self.pairs)):
            return self.everything, None
        held = self.everything[FOLDS - 1 :: 2 * FOLDS][:MOST_TO_WATCH]
        return self.everything[~torch.isin(self.everything, held)], held

    def begin(self, index: Tensor) -> Start:
        """The method's start on some pairs."""
        subsets = self.settings.subsets
        if len(index) < len(self.pairs):  # fewer pairs than the user gave must not make the subsets too small
            subsets = min(subsets, max(1, len(index) // 2))
        hypernetwork = self.foundation.hypernetwork(self.settings.hypernetwork)
        parts = self.support.subset(index), self.foundation.projector, hypernetwork
        return start(self.settings.method, *parts, seed=self.settings.seed, subsets=subsets)

    def examples(self, begun: Start, index: Tensor, count: int) -> Examples | None:
        """What a start on some pairs, as it is now, shows beside a sample; None for a count of 0."""
        if not count:
            return None
        return Examples(count, begun.retrieval, self.unseen(begun, index), *self.words(index))

    @torch.no_grad()
    def unseen(self, begun: Start, index: Tensor) -> Tensor:
        """Soft tokens (k, t, d_lm) of the pairs a start is of, each as if its pair were new."""
        return begun.module.soft(begun.unseen(begun.alignment(self.embeddings[index])))

    def fit(
        self,
        begun: Start,
        index: Tensor,
        schedule: Schedule,
        *,
        examples: int = 0,
        held_out: Tensor | None = None,
        folder: Path | None = None,
        advance: Advance = _silent,
    ) -> History:
        """Train a start on some pairs, in place; with pairs held out, watch their loss and stop early.

        Args:
            examples: pairs shown before each one, whose captions count as well.
        """
        model, rows = self.foundation.language_model, begun.unseen(begun.alignment(self.embeddings[index]))
        asked, words = self.words(index)
        shown = begun.retrieval.others(examples).flip(1).tolist() if examples else [[]] * len(rows)

        def batch_loss(g: torch.Generator) -> Tensor:
            chosen: list[list[int]] = []
            for i in torch.randperm(len(rows), generator=g).tolist():
                if sum(map(len, chosen)) < self.settings.batch:
                    chosen.append([*shown[i], i])
            used = sorted({i for conversation in chosen for i in conversation})
            soft = dict(zip(used, begun.module.soft(rows[used]), strict=True))
            turns = [[Turn(soft[i], asked[i], words[i]) for i in conversation] for conversation in chosen]
            nats, tokens = model.answer_loss(turns, every_turn=True)
            return nats.sum() / tokens.sum()

        def validate() -> float:
            held = self.everything[:0] if held_out is None else held_out
            return self.loss(begun, held, self.examples(begun, index, examples))

        watch = None if held_out is None else validate
        return train(begun.module, batch_loss, schedule, validate=watch, folder=folder, advance=advance)

    def loss(self, begun: Start, held: Tensor, examples: Examples | None = None) -> float:
        """Caption loss per token of pairs that a start has not seen."""
        before = examples.before(begun.alignment(self.support.embeddings[held])) if examples else None
        model = self.foundation.language_model
        return caption_loss(model, begun.soft(self.embeddings[held]), *self.words(held), before)

    @torch.no_grad()
    def choose_examples(self, begun: Start, index: Tensor) -> tuple[int, list[Told]]:
        """How many pairs to show beside a sample: what serves those it begins with best, each left out of the start.

        Returns:
            The number, and what the language model then makes of the captions it was chosen on, the first ones.
        """
        if self.settings.examples is not None:
            return self.settings.examples, []
        if self.settings.method not in READERS or len(index) < FEWEST_TO_HOLD_OUT:
            return 0, []
        soft, some = self.unseen(begun, index), slice(0, MOST_TO_CHOOSE_ON)
        before = {count: self.others(begun, index, soft, count) for count in EXAMPLES}
        tried = [(count, self.told(index, soft, turns, some)) for count, turns in before.items()]
        return min(tried, key=lambda choice: float(Told.joined(choice[1]).nats.mean()))

    def others(self, begun: Start, index: Tensor, soft: Tensor, count: int) -> list[list[Turn]] | None:
        """What would be shown before each pair that a start is of if it were new; None for a count of 0.

        Args:
            soft: soft tokens (k, t, d_lm) of these pairs, each as if it were new.
        """
        if not count:
            return None
        shown = Examples(count, begun.retrieval, soft, *self.words(index))
        return [shown.turns(row) for row in begun.retrieval.others(count).flip(1).tolist()]

    @torch.no_grad()
    def recall(self, begun: Start, index: Tensor, examples: int, known: Sequence[Told] = ()) -> Recall | None:
        """What is recalled of the captions of the pairs that a start is of.

        Args:
            examples: pairs that are shown beside a sample.
            known: see `told_now`.
        """
        if not self.settings.recalls:
            return None
        return self.weighed(begun, index, self.told_now(begun, index, examples, known))

    def weighed(self, begun: Start, index: Tensor, told: Told) -> Recall | None:
        """What is recalled of captions that are told, those of the first pairs of a start; None where nothing is."""
        some = index[:MOST_TO_RECALL]
        if not self.settings.recalls or len(some) < FEWEST_TO_HOLD_OUT:
            return None
        parts, (asked, captions) = list(told.split())[: len(some)], self.words(some)
        spell = self.foundation.language_model.spelled
        words = [word for caption in captions for word in spell(caption)]
        return Recall.fit(Told.joined(parts), words, asked, begun.alignment(self.support.embeddings[some]))

    @torch.no_grad()
    def told_now(self, begun: Start, index: Tensor, examples: int, known: Sequence[Told] = ()) -> Told:
        """What the language model makes of the captions to recall, by a start as it is now, each pair as if new.

        Args:
            known: the first of them, told so already.
        """
        soft = self.unseen(begun, index)
        rest = slice(sum(len(part.lengths) for part in known), MOST_TO_RECALL)
        return Told.joined([*known, *self.told(index, soft, self.others(begun, index, soft, examples), rest)])

    @torch.no_grad()
    def told(
        self, index: Tensor, soft: Tensor, before: Sequence[Sequence[Turn]] | None, some: slice = slice(None)
    ) -> list[Told]:
        """What the language model makes of the captions of some pairs, in batches.

        Args:
            soft: their soft tokens (n, t, d_lm).
            before: for each of them, turns that stand before it.
            some: of these pairs, if not all.
        """
        (asked, words), model = self.words(index), self.foundation.language_model
        turns = [
            [*(before[i] if before else ()), Turn(row, question, "")]
            for i, (row, question) in enumerate(zip(soft, asked, strict=True))
        ]
        first, end, _ = some.indices(len(turns))
        return [model.prefill(turns[at]).told(words[at]) for at in spans(first, end)]

    def choose_steps(self, examples: int, folder: Path | None, advance: Advance) -> tuple[int, History]:
        """The number of steps that serves every fourth pair best when the method is trained on the others.

        Of a method with `Defaults.probe` they only tell whether to learn at all.
        """
        own = DEFAULTS[self.settings.method]
        held = self.everything % FOLDS == FOLDS - 1
        rest = self.everything[~held]
        if folder:
            folder.mkdir(exist_ok=True)
        history = self.fit(
            self.begin(rest),
            rest,
            self.settings.search(),
            examples=examples,
            held_out=self.everything[held],
            folder=folder,
            advance=advance,
        )
        best = int(history.best["step"])
        return own.steps(len(self.pairs)) if best and own.probe else best, history

    def words(self, index: Tensor) -> tuple[list[str], list[str]]:
        """Instructions and captions of some pairs."""
        rows = index.tolist()
        return [self.instructions[i] for i in rows], [self.pairs[i].caption for i in rows]

    def left_out(self, steps: int) -> tuple[Tensor, str]:
        """Soft tokens (k, t, d_lm) of every pair from an adaptation that has not seen it, and how they came about.

        The start of a method that reads the pairs is refitted without each of them in milliseconds, so they are left
        out one by one, with no gradient step. A baseline is nothing without training: it is trained again, for as many
        steps, on three quarters of the pairs.
        """
        k, everything = len(self.pairs), self.everything
        if self.settings.method in READERS:
            soft = [self.begin(everything[everything != i]).soft(self.embeddings[i : i + 1]) for i in range(k)]
            return torch.cat(soft), "leave-one-out, no gradient step"
        parts: dict[int, Tensor] = {}
        folds = min(FOLDS, k)
        for fold in range(folds):
            held, rest = everything[everything % folds == fold], everything[everything % folds != fold]
            begun = self.begin(rest)
            self.fit(begun, rest, self.settings.schedule(steps))
            parts |= dict(zip(held.tolist(), begun.soft(self.embeddings[held]), strict=True))
        return torch.stack([parts[i] for i in range(k)]), f"{folds}-fold, trained again"
