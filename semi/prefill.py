"""Prompts that the language model has read once: the losses of any answers to them, and its own greedy text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers import LogitsProcessorList, StoppingCriteriaList

from semi.recall import Recollection, Told

if TYPE_CHECKING:
    from semi.language_model import LanguageModel


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
        self._recall = list(recall)
        self._inputs, self._mask = pad(rows, left=True)  # (n, L, d_lm), (n, L)
        self._positions = (self._mask.cumsum(1) - 1).clamp_min(0)  # (n, L)
        # All but the last token: its output is what answers begin with.
        self._cache = model.keys_and_values(self._inputs[:, :-1], self._mask[:, :-1], self._positions[:, :-1])

    def _fresh(self) -> Any:
        """The cache, for a use that adds to it."""
        return deepcopy(self._cache)

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
    def write(self, *, max_new_tokens: int = 48, stop: Callable[[], bool] | None = None) -> list[str]:
        """Greedy text for each prompt.

        Args:
            stop: asked after each token whether the text is to end there.
        """
        ends = [] if stop is None else [lambda ids, scores: torch.full((len(ids),), stop(), device=ids.device)]
        rows = self.tokens(max_new_tokens=max_new_tokens, ends=ends)
        return [self._model.tokenizer.decode(row, skip_special_tokens=True).strip() for row in rows]

    @torch.no_grad()
    def tokens(
        self,
        *,
        max_new_tokens: int,
        ends: Sequence[Callable[[Tensor, Any], Tensor]] = (),
        change: Sequence[Callable[[Tensor, Tensor], Tensor]] = (),
    ) -> Tensor:
        """The likeliest tokens for each prompt, (n, up to max_new_tokens); an end-of-turn token fills up.

        Args:
            ends: given all tokens (n, t) so far after each one, which texts are to end there, bool (n,).
            change: given the tokens so far and the scores (n, vocabulary) of the next, scores to go by instead.
        """
        model = self._model
        with model.listening() as heard:

            def recalled(ids: Tensor, scores: Tensor) -> Tensor:
                rows = zip_longest(scores, heard[0], self._recall)
                return torch.stack([s if own is None else own.scores(s, hidden) for s, hidden, own in rows])

            tokens: Tensor = model.model.generate(
                inputs_embeds=self._inputs,
                attention_mask=self._mask,
                past_key_values=self._fresh(),
                max_new_tokens=max_new_tokens,
                do_sample=False,
                temperature=None,
                top_p=None,
                top_k=None,
                eos_token_id=model.end,
                pad_token_id=model.end[0],
                stopping_criteria=StoppingCriteriaList(ends),
                logits_processor=LogitsProcessorList([*([recalled] if any(self._recall) else []), *change]),
            )
        return tokens


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
