"""The frozen language model: caption loss and text from soft tokens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from semi import weights
from semi.errors import ArtifactError, InputError
from semi.prefill import Prefill, pad
from semi.prompts import Prompt, Turn, render, render_turns, with_placeholders
from semi.recall import Recollection, Told
from semi.words import words_of

PADDING = 1.5
"""A row is padded to at most this many times its length; shorter ones are read apart."""


class LanguageModel:
    """A frozen causal language model that reads soft tokens among its input embeddings.

    Build it with `LanguageModel.load`. Its weights never change and never need gradients. The modalities of a merge are
    language models that share their memory, see `under`: any of them may be used at any time, but by one thread only.
    """

    def __init__(self, loaded: weights.Loaded, *, id: str) -> None:
        self.id = id
        self.tokenizer = loaded.tokenizer
        self.precision, self.sha256 = loaded.precision, loaded.sha256
        self._model, self._view = loaded.model, loaded.view
        self._prefixes: dict[tuple[int, ...], Any] = {}
        self._mean: Tensor | None = None
        self.lockstep = False
        """Whether processes hold parts of it and must call it alike: every loss is then a single call."""
        self.end = self._end_ids()
        render(self.tokenizer, [{"role": "user", "content": "hello"}])  # a missing chat template is told at once

    @classmethod
    def load(
        cls,
        name: str = "smollm2-135m",
        *,
        precision: str | None = None,
        device: torch.device | str | None = None,
        base: str | Path | None = None,
    ) -> LanguageModel:
        """An asset's name, a folder or a hub id; see `semi.weights.load` for precisions and errors.

        Or a merge: "NAME.mmer#vision" computes under one of its modalities. "NAME.mmer#text=merged", or base, mean or
        union, is what tokens of no modality get (`semi.merge.steps.TextPolicy`); "NAME.mmer" is the first of these.

        Args:
            base: the folder of a merge's base, where it is not where the merge found it.
        """
        loaded = weights.load(name, precision, weights.find_device(device), base)
        return cls(loaded, id=str(loaded.view.name) if loaded.view else name)

    def under(self, modality: str | None) -> LanguageModel:
        """Another modality of the same merge, or its text (None), in the same memory.

        Raises:
            InputError: this is no merge, or it has no such modality.
        """
        if self._view is None:
            raise InputError(f"the language model {self.id} is no merge", got=modality, expected="NAME.mmer#MODALITY")
        view = self._view.merge.view(modality)
        return LanguageModel(weights.loaded_view(view), id=str(view.name))

    def matching(self, sha256: str) -> LanguageModel:
        """That modality of the same merge, or its text, whose hash this is; itself where there is none."""
        if self._view is None or self.sha256 == sha256:
            return self
        merge = self._view.merge
        found = (modality for modality in (*merge.modalities, None) if merge.sha256(modality) == sha256)
        return next(map(self.under, found), self)

    @property
    def model(self) -> Any:
        """The transformers model. That of a merge computes what the language model does that was asked for it last."""
        if self._view is not None:
            self._view.merge.switch(self._view)
        return self._model

    @property
    def _decoder(self) -> Any:
        return self.model.get_decoder()

    @contextmanager
    def listening(self) -> Iterator[list[Tensor]]:
        """While it is open, the list holds what the output layer reads last of every row, (n, d_lm)."""
        heard: list[Tensor] = []

        def hear(decoder: Any, arguments: Any, output: Any) -> None:
            heard[:] = [output.last_hidden_state[:, -1]]

        with self._decoder.register_forward_hook(hear):
            yield heard

    @property
    def _embed(self) -> Any:
        return self.model.get_input_embeddings()

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
            embedded = self.embed_tokens(self.tokenizer.encode(text, add_special_tokens=False)).float()
            edges = [round(i * len(embedded) / parts) for i in range(parts + 1)]
            spans = [(min(a, len(embedded) - 1), max(a + 1, b)) for a, b in pairwise(edges)]
            rows.append(torch.stack([embedded[a:b].mean(0) for a, b in spans]))
        return torch.stack(rows)

    def input_embeddings(self) -> Tensor:
        """Of the whole vocabulary, (V, d_lm)."""
        table: Tensor = self._embed.weight if self._view is None else self._view.merge.embeddings(self._view)
        return table

    @torch.no_grad()
    def words(self, texts: Sequence[str]) -> Tensor:
        """What the tokens of each text add up to, (n, d_lm) float32; zeros for a text without tokens.

        Their input embeddings, seen from the mean of the vocabulary and brought to norm one, are summed and divided by
        the root of their number.
        """
        if self._mean is None:
            self._mean = self.input_embeddings().float().mean(0)
        bags = []
        for text in texts:
            tokens = self.embed_tokens(self.tokenizer.encode(text, add_special_tokens=False)).float() - self._mean
            bags.append(normalize(tokens, dim=1).sum(0) / max(1, len(tokens)) ** 0.5)
        return torch.stack(bags)

    def caption_loss(
        self,
        soft: Tensor,
        instructions: Sequence[str],
        captions: Sequence[str],
        examples: Sequence[Sequence[Turn]] | None = None,
        recall: Sequence[Recollection | None] = (),
    ) -> tuple[Tensor, Tensor]:
        """Cross-entropy of the captions, end-of-turn token included, and of nothing else.

        Args:
            soft: soft tokens (n, t, d_lm), with gradient if wanted.
            instructions: n instructions; each prompt holds one sample.
            captions: n captions.
            examples: for each row, turns that stand before its own.
            recall: for each row what has a say in its caption; nothing where there are fewer.

        Returns:
            nats (n,) summed over each caption's tokens, and the number of those tokens (n,).
        """
        turns = [Turn(*row) for row in zip(soft, instructions, captions, strict=True)]
        before = examples if examples is not None else [()] * len(turns)
        return self.answer_loss([[*shown, turn] for shown, turn in zip(before, turns, strict=True)], recall=recall)

    def answer_loss(
        self,
        conversations: Sequence[Sequence[Turn]],
        *,
        every_turn: bool = False,
        recall: Sequence[Recollection | None] = (),
    ) -> tuple[Tensor, Tensor]:
        """Cross-entropy of the last answer of each conversation, or of the answer of every turn.

        Args:
            recall: what has a say in the last answer of each conversation; not for those of every turn.

        Returns:
            nats summed over each answer's tokens, end-of-turn token included, and the number of those tokens: an entry
            for each answer, conversation by conversation.
        """
        prompts = self._rendered(conversations)
        # What stands before the first sample is the same for every row unless an instruction puts its placeholder
        # elsewhere: its keys and values are computed once. That halves the work for captions of ten tokens.
        before = {asked[0].segments[0] for asked in prompts}
        prefix = before.pop() if len(before) == 1 and not self.lockstep else ()
        read = [
            self._embedded(turns, asked, len(prefix), every_turn)
            for turns, asked in zip(conversations, prompts, strict=True)
        ]
        losses: list[tuple[Tensor, Tensor]] = [(torch.empty(0), torch.empty(0))] * len(read)
        for group in [range(len(read))] if self.lockstep else _alike([len(row) for row, _ in read]):
            says = [recall[i] for i in group] if recall else []
            for i, loss in zip(group, self._losses([read[i] for i in group], prefix, says), strict=True):
                losses[i] = loss
        return torch.cat([nats for nats, _ in losses]), torch.cat([tokens for _, tokens in losses])

    def prefill(self, conversations: Sequence[Sequence[Turn]], recall: Sequence[Recollection | None] = ()) -> Prefill:
        """Read conversations up to where their last answers begin, once for all that is asked of them then.

        Args:
            recall: for each of them what has a say in its answer; nothing where there are fewer.
        """
        rows = []
        for turns, prompts in zip(conversations, self._rendered(conversations), strict=True):
            row, [(at, _)] = self._embedded(turns, prompts, 0, every_turn=False)
            rows.append(row[: at + 1])
        return Prefill(self, rows, recall)

    def generate(
        self,
        soft: Sequence[Sequence[Tensor]],
        prompts: Sequence[Prompt],
        recall: Sequence[Recollection | None] = (),
        *,
        max_new_tokens: int = 48,
    ) -> list[str]:
        """Greedy text for each prompt.

        Args:
            soft: for each prompt, its samples' soft tokens, each (t, d_lm).
            prompts: from `prompt`, or `semi.prompts.render` for whole conversations.
            recall: see `prefill`.

        Raises:
            InputError: a prompt has another number of placeholders than it got samples; says both.
        """
        rows = [self.splice(p, s) for p, s in zip(prompts, soft, strict=True)]
        return Prefill(self, rows, recall).write(max_new_tokens=max_new_tokens)

    def splice(self, prompt: Prompt, soft: Sequence[Tensor]) -> Tensor:
        """Input embeddings (length, d_lm) of a prompt with its samples' soft tokens at the placeholders."""
        if prompt.samples != len(soft):
            raise InputError(
                f"the prompt has {prompt.samples} placeholders for {len(soft)} samples",
                got=len(soft),
                expected=prompt.samples,
                do="give one placeholder for each sample",
            )
        parts = [self.embed_tokens(prompt.segments[0])]
        for tokens, segment in zip(soft, prompt.segments[1:], strict=True):
            parts += [tokens.to(parts[0]), self.embed_tokens(segment)]
        return torch.cat(parts)

    def _rendered(self, conversations: Sequence[Sequence[Turn]]) -> list[list[Prompt]]:
        """The prompts of each conversation, a prompt a turn; what is asked alike is rendered once."""
        contents = [tuple(turn.content for turn in turns) for turns in conversations]
        prompts = {key: render_turns(self.tokenizer, key) for key in set(contents)}
        return [prompts[key] for key in contents]

    def _embedded(
        self, turns: Sequence[Turn], prompts: Sequence[Prompt], skip: int, every_turn: bool
    ) -> tuple[Tensor, list[tuple[int, list[int]]]]:
        """Input embeddings (length, d_lm) of a conversation less its first `skip` tokens, and its answers in question.

        An answer is the position in front of its first token and its tokens, end of turn included.
        """
        parts: list[Tensor] = []
        answers: list[tuple[int, list[int]]] = []
        length = 0
        for i, (turn, prompt) in enumerate(zip(turns, prompts, strict=True)):
            asked = self.splice(prompt, turn.samples)[skip if i == 0 else 0 :]
            ids = self.answer_tokens(turn.answer)
            length += len(asked)
            if every_turn or i + 1 == len(turns):
                answers.append((length - 1, ids))
            parts += [asked, self.embed_tokens(ids[:-1])]  # the template ends the turn itself
            length += len(ids) - 1
        return torch.cat(parts), answers

    def _losses(
        self,
        read: Sequence[tuple[Tensor, list[tuple[int, list[int]]]]],
        prefix: tuple[int, ...],
        recall: Sequence[Recollection | None],
    ) -> list[tuple[Tensor, Tensor]]:
        """For each of some conversations from `_embedded`, its answers' nats and tokens."""
        inputs, mask = pad([row for row, _ in read], left=False)  # (n, L, d_lm), (n, L)
        cache = None
        if prefix:
            cache = deepcopy(self._prefix(prefix))  # the model will add to it
            cache.batch_repeat_interleave(len(read))
            mask = torch.cat([mask.new_ones(len(read), len(prefix)), mask], dim=1)  # (n, prefix + L)
        answers = [(number, at, ids) for number, (_, found) in enumerate(read) for at, ids in found]
        nats, tokens = self.told(inputs, mask, answers, cache).summed(recall)
        counts = [len(found) for _, found in read]
        return list(zip(torch.split(nats, counts), torch.split(tokens, counts), strict=True))

    def told(
        self,
        inputs: Tensor,
        mask: Tensor,
        answers: Sequence[tuple[int, int, Sequence[int]]],
        cache: Any = None,
        positions: Tensor | None = None,
    ) -> Told:
        """What the language model makes of every token of some answers.

        Args:
            inputs: input embeddings (n, L, d_lm).
            mask: (n, c + L), ones where there are tokens; c of them are in the cache.
            answers: row of the inputs, position in front of the first token, tokens.
            cache: keys and values of what stands before; the model adds to it.
            positions: of the inputs (n, L); None: those after the cache.
        """
        spots = [row * inputs.shape[1] + at + i for row, at, ids in answers for i in range(len(ids))]
        hidden, logits = self._at(self._ids(spots), inputs, mask, cache, positions)
        tokens = self._ids(list(chain(*(ids for _, _, ids in answers))))
        nats = torch.nn.functional.cross_entropy(logits, tokens, reduction="none")
        return Told(hidden, nats, tokens, [len(ids) for _, _, ids in answers])

    def _at(
        self, spots: Tensor, inputs: Tensor, mask: Tensor, cache: Any, positions: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Last hidden states (tokens, d_lm) and logits (tokens, vocabulary) float32.

        Args:
            spots: (tokens,), of the flattened (n * L, d_lm) inputs.
        """

        # The model itself makes the logits, as some scale or cap them (Cohere, Granite, Gemma 2), but of these hidden
        # states alone: the output layer is a fifth of SmolLM2's weights and most tokens are of the prompt.
        read: list[Tensor] = []

        def only_spots(decoder: Any, arguments: Any, output: Any) -> None:
            read.append(output.last_hidden_state.flatten(0, 1)[spots])
            output.last_hidden_state = read[0][None]  # (1, tokens, d_lm)

        with self._decoder.register_forward_hook(only_spots):
            output = self.model(
                inputs_embeds=inputs,
                attention_mask=mask,
                position_ids=positions,
                past_key_values=cache,
                use_cache=cache is not None,
            )
        return read[0], output.logits[0].float()

    def _prefix(self, ids: tuple[int, ...]) -> Any:
        """The cache of one row after reading `ids`."""
        if ids not in self._prefixes:
            with torch.no_grad():
                cache = self.keys_and_values(self.embed_tokens(ids)[None])
            self._prefixes = {ids: cache}  # one is kept: they are large
        return self._prefixes[ids]

    def keys_and_values(self, inputs: Tensor, mask: Tensor | None = None, positions: Tensor | None = None) -> Any:
        """The cache after input embeddings (n, L, d_lm); mask and positions (n, L) where rows are padded."""
        read = self._decoder(inputs_embeds=inputs, attention_mask=mask, position_ids=positions, use_cache=True)
        return read.past_key_values

    def answer_tokens(self, answer: str) -> list[int]:
        """The tokens of an answer, end of turn included."""
        return [*self.tokenizer.encode(answer, add_special_tokens=False), self.end[0]]

    def spelled(self, answer: str) -> list[str]:
        """For each of the answer's tokens the word that it is a part of."""
        return words_of(self.tokenizer, answer, self.answer_tokens(answer))

    def embed_tokens(self, ids: Sequence[int]) -> Tensor:
        """Input embeddings (n, d_lm) of tokens."""
        embedded: Tensor = self._embed(self._ids(ids))
        return embedded

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


def _alike(lengths: Sequence[int]) -> list[list[int]]:
    """Indices in groups of like lengths, so that reading a group together wastes little on padding."""
    groups: list[list[int]] = []
    for i in sorted(range(len(lengths)), key=lambda i: lengths[i]):
        if groups and lengths[i] <= PADDING * lengths[groups[-1][0]]:
            groups[-1].append(i)
        else:
            groups.append([i])
    return groups
