"""The frozen language model: caption loss and text from soft tokens."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from itertools import chain, pairwise
from typing import Any

import torch
from torch import Tensor

from semi import weights
from semi.errors import ArtifactError, InputError
from semi.prompts import Prompt, Turn, render, render_turns, with_placeholders

PADDING = 1.5
"""A row is padded to at most this many times its length; shorter ones are read apart."""


class LanguageModel:
    """A frozen causal language model that reads soft tokens among its input embeddings.

    Build it with `LanguageModel.load`. Its weights never change and never need gradients.
    """

    def __init__(self, loaded: weights.Loaded, *, id: str) -> None:
        self.id = id
        self.model, self.tokenizer = loaded.model, loaded.tokenizer
        self.precision, self.sha256 = loaded.precision, loaded.sha256
        self._decoder = self.model.get_decoder()
        self._embed = self.model.get_input_embeddings()
        self._prefixes: dict[tuple[int, ...], Any] = {}
        self.end = self._end_ids()
        render(self.tokenizer, [{"role": "user", "content": "hello"}])  # a missing chat template is told at once

    @classmethod
    def load(
        cls,
        name: str = "smollm2-135m",
        *,
        precision: str | None = None,
        device: torch.device | str | None = None,
    ) -> LanguageModel:
        """An asset's name, a folder or a hub id; see `semi.weights.load` for precisions and errors."""
        target = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        return cls(weights.load(name, precision, target), id=name)

    @property
    def d_lm(self) -> int:
        """Width of the input embeddings."""
        return int(self._embed.weight.shape[1])

    @property
    def device(self) -> torch.device:
        """Where the input embeddings lie."""
        device: torch.device = self._embed.weight.device
        return device

    def source(self) -> dict[str, str]:
        """What manifests record of it."""
        return {"id": self.id, "precision": self.precision, "sha256": self.sha256}

    def prompt(self, instruction: str, samples: int = 1) -> Prompt:
        """One user turn with `samples` samples and an instruction."""
        return render(self.tokenizer, [{"role": "user", "content": with_placeholders(instruction, samples)}])

    def embed_parts(self, texts: Sequence[str], parts: int) -> Tensor:
        """Mean input embedding of each of `parts` consecutive parts of each text's tokens, (n, parts, d_lm) float32.

        The target of a projector's warm start. A part of a text with fewer tokens than parts is its nearest token.
        """
        rows = []
        for text in texts:
            embedded = self._embed(self._ids(self.tokenizer.encode(text, add_special_tokens=False))).float()
            edges = [round(i * len(embedded) / parts) for i in range(parts + 1)]
            spans = [(min(a, len(embedded) - 1), max(a + 1, b)) for a, b in pairwise(edges)]
            rows.append(torch.stack([embedded[a:b].mean(0) for a, b in spans]))
        return torch.stack(rows)

    def caption_loss(
        self,
        soft: Tensor,
        instructions: Sequence[str],
        captions: Sequence[str],
        examples: Sequence[Sequence[Turn]] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Cross-entropy of the captions, end-of-turn token included, and of nothing else.

        Args:
            soft: soft tokens (n, t, d_lm), with gradient if wanted.
            instructions: n instructions; each prompt holds one sample.
            captions: n captions.
            examples: for each row, turns that stand before its own.

        Returns:
            nats (n,) summed over each caption's tokens, and the number of those tokens (n,).
        """
        turns = [Turn(*row) for row in zip(soft, instructions, captions, strict=True)]
        before = examples if examples is not None else [()] * len(turns)
        return self.answer_loss([[*shown, turn] for shown, turn in zip(before, turns, strict=True)])

    def answer_loss(
        self, conversations: Sequence[Sequence[Turn]], *, every_turn: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Cross-entropy of the last answer of each conversation, or of the answer of every turn.

        Returns:
            nats summed over each answer's tokens, end-of-turn token included, and the number of those tokens: an entry
            for each answer, conversation by conversation.
        """
        prompts = self._rendered(conversations)
        # What stands before the first sample is the same for every row unless an instruction puts its placeholder
        # elsewhere: its keys and values are computed once. That halves the work for captions of ten tokens.
        before = {asked[0].segments[0] for asked in prompts}
        prefix = before.pop() if len(before) == 1 else ()
        read = [
            self._read(turns, asked, len(prefix), every_turn)
            for turns, asked in zip(conversations, prompts, strict=True)
        ]
        losses: list[tuple[Tensor, Tensor]] = [(torch.empty(0), torch.empty(0))] * len(read)
        for group in _alike([len(row) for row, _ in read]):
            for i, loss in zip(group, self._losses([read[i] for i in group], prefix), strict=True):
                losses[i] = loss
        return torch.cat([nats for nats, _ in losses]), torch.cat([tokens for _, tokens in losses])

    def reply(self, conversations: Sequence[Sequence[Turn]], *, max_new_tokens: int = 48) -> list[str]:
        """Greedy text in place of the last answer of each conversation."""
        rows = []
        for turns, prompts in zip(conversations, self._rendered(conversations), strict=True):
            row, [(at, _)] = self._read(turns, prompts, 0, every_turn=False)
            rows.append(row[: at + 1])
        return self._continue(rows, max_new_tokens)

    def generate(
        self, soft: Sequence[Sequence[Tensor]], prompts: Sequence[Prompt], *, max_new_tokens: int = 48
    ) -> list[str]:
        """Greedy text for each prompt.

        Args:
            soft: for each prompt, its samples' soft tokens, each (t, d_lm).
            prompts: from `prompt`, or `semi.prompts.render` for whole conversations.

        Raises:
            InputError: a prompt has another number of placeholders than it got samples; says both.
        """
        return self._continue([self.splice(p, s) for p, s in zip(prompts, soft, strict=True)], max_new_tokens)

    @torch.no_grad()
    def _continue(self, rows: Sequence[Tensor], max_new_tokens: int) -> list[str]:
        """Greedy text after rows (l_i, d_lm) of input embeddings."""
        inputs, mask = _pad(rows, left=True)
        tokens = self.model.generate(
            inputs_embeds=inputs,
            attention_mask=mask,
            max_new_tokens=max_new_tokens,
            do_sample=False,
            temperature=None,
            top_p=None,
            top_k=None,
            eos_token_id=self.end,
            pad_token_id=self.end[0],
        )
        return [self.tokenizer.decode(row, skip_special_tokens=True).strip() for row in tokens]

    def splice(self, prompt: Prompt, soft: Sequence[Tensor]) -> Tensor:
        """Input embeddings (length, d_lm) of a prompt with its samples' soft tokens at the placeholders."""
        if prompt.samples != len(soft):
            raise InputError(
                f"the prompt has {prompt.samples} placeholders for {len(soft)} samples",
                got=len(soft),
                expected=prompt.samples,
                do="give one placeholder for each sample",
            )
        parts = [self._embed(self._ids(prompt.segments[0]))]
        for tokens, segment in zip(soft, prompt.segments[1:], strict=True):
            parts += [tokens.to(parts[0]), self._embed(self._ids(segment))]
        return torch.cat(parts)

    def _rendered(self, conversations: Sequence[Sequence[Turn]]) -> list[list[Prompt]]:
        """The prompts of each conversation, a prompt a turn; what is asked alike is rendered once."""
        contents = [tuple(turn.content for turn in turns) for turns in conversations]
        prompts = {key: render_turns(self.tokenizer, key) for key in set(contents)}
        return [prompts[key] for key in contents]

    def _read(
        self, turns: Sequence[Turn], prompts: Sequence[Prompt], skip: int, every_turn: bool
    ) -> tuple[Tensor, list[tuple[int, list[int]]]]:
        """Input embeddings (length, d_lm) of a conversation less its first `skip` tokens, and its answers in question.

        An answer is the position in front of its first token and its tokens, end of turn included.
        """
        parts: list[Tensor] = []
        answers: list[tuple[int, list[int]]] = []
        length = 0
        for i, (turn, prompt) in enumerate(zip(turns, prompts, strict=True)):
            soft = [] if turn.soft is None else [turn.soft]
            asked = self.splice(prompt, soft)[skip if i == 0 else 0 :]
            ids = self.tokenizer.encode(turn.answer, add_special_tokens=False)
            length += len(asked)
            if every_turn or i + 1 == len(turns):
                answers.append((length - 1, [*ids, self.end[0]]))
            parts += [asked, self._embed(self._ids(ids))]
            length += len(ids)
        return torch.cat(parts), answers

    def _losses(
        self, read: Sequence[tuple[Tensor, list[tuple[int, list[int]]]]], prefix: tuple[int, ...]
    ) -> list[tuple[Tensor, Tensor]]:
        """For each of some conversations from `_read`, its answers' nats and tokens."""
        inputs, mask = _pad([row for row, _ in read], left=False)  # (n, L, d_lm), (n, L)
        answers = [(number, at, ids) for number, (_, found) in enumerate(read) for at, ids in found]
        spots = [number * inputs.shape[1] + at + i for number, at, ids in answers for i in range(len(ids))]
        logits = self._logits(inputs, mask, prefix, self._ids(spots))  # (tokens, vocabulary)
        targets = self._ids(list(chain(*(ids for _, _, ids in answers))))
        nats = torch.nn.functional.cross_entropy(logits, targets, reduction="none")
        tokens = torch.tensor([len(ids) for _, _, ids in answers], device=self.device)
        owner = torch.arange(len(answers), device=self.device).repeat_interleave(tokens)
        summed = torch.zeros(len(answers), device=self.device).index_add(0, owner, nats)
        counts = [len(found) for _, found in read]
        return list(zip(torch.split(summed, counts), torch.split(tokens, counts), strict=True))

    def _logits(self, inputs: Tensor, mask: Tensor, prefix: tuple[int, ...], spots: Tensor) -> Tensor:
        """Logits (tokens, vocabulary) float32 at `spots` (tokens,) of the flattened (n * L, d_lm) inputs.

        The inputs stand after a prefix that is the same for all rows.
        """
        n, cache = len(inputs), None
        if prefix:
            cache = deepcopy(self._prefix(prefix))  # the model will add to it
            cache.batch_repeat_interleave(n)
        mask = torch.cat([mask.new_ones(n, len(prefix)), mask], dim=1)  # (n, prefix + L)

        # The model itself makes the logits, as some scale or cap them (Cohere, Granite, Gemma 2), but of these hidden
        # states alone: the output layer is a fifth of SmolLM2's weights and most tokens are of the prompt.
        def only_spots(decoder: Any, arguments: Any, output: Any) -> None:
            output.last_hidden_state = output.last_hidden_state.flatten(0, 1)[spots][None]  # (1, tokens, d_lm)

        with self._decoder.register_forward_hook(only_spots):
            output = self.model(
                inputs_embeds=inputs, attention_mask=mask, past_key_values=cache, use_cache=cache is not None
            )
        logits: Tensor = output.logits[0].float()
        return logits

    def _prefix(self, ids: tuple[int, ...]) -> Any:
        """The cache of one row after reading `ids`."""
        if ids not in self._prefixes:
            with torch.no_grad():
                cache = self._decoder(self._ids(ids)[None], use_cache=True).past_key_values
            self._prefixes = {ids: cache}  # one is kept: they are large
        return self._prefixes[ids]

    def _ids(self, ids: Sequence[int]) -> Tensor:
        return torch.tensor(list(ids), dtype=torch.long, device=self.device)

    def _end_ids(self) -> list[int]:
        """End-of-turn tokens: the tokenizer's own first, then whatever generation stops at."""
        ends: Any = self.model.generation_config.eos_token_id
        ends = [] if ends is None else ends if isinstance(ends, list) else [ends]
        known = dict.fromkeys(end for end in (self.tokenizer.eos_token_id, *ends) if end is not None)
        if not known:
            raise ArtifactError(
                f"the language model {self.id} has no end-of-turn token",
                got="no eos_token in tokenizer_config.json, no eos_token_id in generation_config.json",
                do="use the -Instruct or -chat version of the model",
            )
        return list(known)


def _pad(rows: Sequence[Tensor], *, left: bool) -> tuple[Tensor, Tensor]:
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


def _alike(lengths: Sequence[int]) -> list[list[int]]:
    """Indices in groups of like lengths, so that reading a group together wastes little on padding."""
    groups: list[list[int]] = []
    for i in sorted(range(len(lengths)), key=lambda i: lengths[i]):
        if groups and lengths[i] <= PADDING * lengths[groups[-1][0]]:
            groups[-1].append(i)
        else:
            groups.append([i])
    return groups
