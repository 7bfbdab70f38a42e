"""Prompts that the language model has read once: the losses of any answers to them, and its own text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers import LogitsProcessorList, StoppingCriteriaList

from semi.candidates import choose
from semi.recall import Recollection, Told

if TYPE_CHECKING:
    from semi.language_model import LanguageModel

AT_ONCE = 32
"""Texts that are drawn at once, at least one of each prompt."""
TEMPERATURE = 0.4
"""Of the drawn ones: at 1, a text of a small language model is worse than what choosing among many gains."""


class Prefill:
    """Keys and values of prompts, padded to the longest, all without gradient.

    With pairs shown a prompt is thirty times as long as its answer: what is asked of it after the first is almost free.

    Args:
        rows: input embeddings (l_i, d_lm) of each prompt, up to where the answer begins.
        recall: for each prompt what has a say in its answers, see `semi.recall`; nothing where there are fewer.
    """

    @torch.no_grad()
    def __init__(
        self, model: LanguageModel, rows: Sequence[Tensor], recall: Sequence[Recollection | None] = ()
    ) -> None:
        self._model = model
        self._recall = [*recall, *[None] * (len(rows) - len(recall))]
        self._inputs, self._mask = pad(rows, left=True)  # (n, L, d_lm), (n, L)
        self._positions = (self._mask.cumsum(1) - 1).clamp_min(0)  # (n, L)
        # All but the last token: its output is what answers begin with.
        self._cache = model.keys_and_values(self._inputs[:, :-1], self._mask[:, :-1], self._positions[:, :-1])

    def _fresh(self, copies: int = 1) -> Any:
        """The cache, every row so many times in succession, for a use that adds to it."""
        cache = deepcopy(self._cache)
        if copies > 1:
            cache.batch_repeat_interleave(copies)
        return cache

    @torch.no_grad()
    def losses(self, answers: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Nats summed over each answer's tokens, end-of-turn token included, and their number: (n,) and (n,)."""
        return self.told(answers).summed(self._recall)

    @torch.no_grad()
    def told(self, answers: Sequence[str]) -> Told:
        """What the language model itself makes of each token of answers, one to each prompt."""
        model = self._model
        tokens = [model.answer_tokens(answer) for answer in answers]
        tails = [
            torch.cat([row, model.embed_tokens(ids[:-1])])
            for row, ids in zip(self._inputs[:, -1:], tokens, strict=True)
        ]
        inputs, mask = pad(tails, left=False)
        positions = self._positions[:, -1:] + torch.arange(inputs.shape[1], device=inputs.device)
        places = [(row, 0, ids) for row, ids in enumerate(tokens)]
        return model.told(inputs, torch.cat([self._mask[:, :-1], mask], 1), places, self._fresh(), positions)

    @torch.no_grad()
    def write(
        self, *, max_new_tokens: int = 48, candidates: int = 1, stop: Callable[[], bool] | None = None
    ) -> list[str]:
        """Text for each prompt: the likeliest token every time.

        Args:
            candidates: texts to choose from where captions are recalled, see `semi.candidates`: that one, and others
                which are drawn.
            stop: asked after each token whether the text is to end there; nothing is chosen then.
        """
        ends = [] if stop is None else [lambda ids, scores: torch.full((len(ids),), stop(), device=ids.device)]
        found = [[text] for text in self._texts(self.tokens(max_new_tokens=max_new_tokens, ends=ends))]
        chances = [own.chances if own else {} for own in self._recall]
        drawn, rows = (1 if any(chances) else candidates), len(found)
        while drawn < candidates:
            copies = min(candidates - drawn, max(1, AT_ONCE // rows))
            change = [_drawing(range(drawn, drawn + copies), rows)]
            texts = self._texts(self.tokens(max_new_tokens=max_new_tokens, ends=ends, change=change, copies=copies))
            if stop and stop():
                break
            for row, own in enumerate(found):
                own += texts[row * copies : (row + 1) * copies]
            drawn += copies
        return [choose(texts, own) for texts, own in zip(found, chances, strict=True)]

    @torch.no_grad()
    def tokens(
        self,
        *,
        max_new_tokens: int,
        ends: Sequence[Callable[[Tensor, Any], Tensor]] = (),
        change: Sequence[Callable[[Tensor, Tensor], Tensor]] = (),
        copies: int = 1,
    ) -> Tensor:
        """The likeliest tokens for each prompt, (n * copies, up to max_new_tokens); an end-of-turn token fills up.

        Args:
            ends: given all tokens (n, t) so far after each one, which texts are to end there, bool (n,).
            change: given the tokens so far and the scores (n, vocabulary) of the next, scores to go by instead.
            copies: texts of each prompt, one after the other; only `change` makes them differ.
        """
        model, recall = self._model, [own for own in self._recall for _ in range(copies)]
        with model.listening() as heard:

            def recalled(ids: Tensor, scores: Tensor) -> Tensor:
                rows = zip(scores, heard[0], recall, strict=True)
                return torch.stack([s if own is None else own.scores(s, hidden) for s, hidden, own in rows])

            tokens: Tensor = model.model.generate(
                inputs_embeds=self._inputs.repeat_interleave(copies, 0),
                attention_mask=self._mask.repeat_interleave(copies, 0),
                past_key_values=self._fresh(copies),
                max_new_tokens=max_new_tokens,
                do_sample=False,
                temperature=None,
                top_p=None,
                top_k=None,
                eos_token_id=model.end,
                pad_token_id=model.end[0],
                stopping_criteria=StoppingCriteriaList(ends),
                logits_processor=LogitsProcessorList([*([recalled] if any(recall) else []), *change]),
            )
        return tokens

    def _texts(self, rows: Tensor) -> list[str]:
        return [self._model.tokenizer.decode(row, skip_special_tokens=True).strip() for row in rows]


def _drawing(candidates: range, rows: int) -> Callable[[Tensor, Tensor], Tensor]:
    """What makes scores (rows * candidates, vocabulary) draw by the Gumbel-max trick."""

    def draw(ids: Tensor, scores: Tensor) -> Tensor:
        waited = torch.stack([waits(candidate, ids.shape[1], scores) for candidate in candidates])
        return scores.float() / TEMPERATURE - waited.log().repeat(rows, 1)

    return draw


def waits(candidate: int, step: int, like: Tensor) -> Tensor:
    """Exponential random numbers (vocabulary,) that draw a candidate's next token, always the same.

    All samples have the same: what is written of one does not depend on what else is in the batch.
    """
    generator = torch.Generator().manual_seed(candidate << 16 | step)  # of which 32 bits count
    return torch.empty(like.shape[-1]).exponential_(generator=generator).to(like.device)


def pad(rows: Sequence[Tensor], *, left: bool) -> tuple[Tensor, Tensor]:
    """Rows (l_i, d) as (n, L, d), with a mask (n, L) of ones where they are."""
    length = max(len(row) for row in rows)
    gaps = [length - len(row) for row in rows]
    pads = [(0, 0, gap, 0) if left else (0, 0, 0, gap) for gap in gaps]
    inputs = torch.stack([torch.nn.functional.pad(row, pad) for row, pad in zip(rows, pads, strict=True)])
    mask = torch.ones(len(rows), length, dtype=torch.long, device=inputs.device)
    for i, gap in enumerate(gaps):
        mask[i, :gap] = 0 if left else 1
        if not left and gap:
            mask[i, -gap:] = 0
    return inputs, mask
