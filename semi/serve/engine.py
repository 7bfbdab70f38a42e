"""Several integrations over one language model, asked by many at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import TypeVar

from semi.integration import Integration
from semi.language_model import LanguageModel
from semi.serve.backend import Backend, Piece, Question
from semi.serve.conversation import prompt_of, recall_of, samples_of
from semi.serve.in_process import InProcess
from semi.serve.limits import Limits
from semi.serve.metrics import Metrics
from semi.serve.reader import Read, Reader
from semi.serve.refusal import Refusal
from semi.serve.samples import unpack
from semi.serve.schema import ChatRequest, EmbeddingRequest, ModalityPart

CLOSE_S = 10.0
T = TypeVar("T")


@dataclass(frozen=True)
class Asked:
    """A request whose samples have been read."""

    question: Question
    read: list[Read]


class Engine:
    """Reads samples and writes answers.

    Args:
        integrations: by modality, over one language model; `semi.streams.loading.load_integrations`.
        backend: None: the language model in this process.
    """

    def __init__(
        self,
        integrations: Mapping[str, Integration],
        limits: Limits,
        metrics: Metrics,
        backend: Backend | None = None,
    ) -> None:
        self.integrations, self.limits, self._metrics = dict(integrations), limits, metrics
        self._language_model = next(iter(integrations.values())).language_model
        self._context = _context(self._language_model)
        self._reader = Reader(integrations, metrics.read.observe)
        self._backend = backend or InProcess(limits.batch, metrics.written.observe)
        self._instructions = {name: each.record.instruction for name, each in integrations.items()}

    @property
    def models(self) -> list[str]:
        """What requests can ask for: the language model, for all modalities, or one of them."""
        return [self._language_model.id, *self.integrations]

    async def read(self, request: EmbeddingRequest) -> list[Read]:
        """Samples of one modality.

        Raises:
            Refusal: one of them is none, or there are too many.
        """
        self.require_model(request.model)
        if request.model not in self.integrations:
            told = f"samples are of a modality: {', '.join(self.integrations)}"
            raise Refusal(400, "unknown_modality", told, "model")
        parts = request.parts
        for place, part in parts.items():
            if part.modality != request.model:
                told = f"a sample of {part.modality!r} where the model is {request.model!r}"
                raise Refusal(400, "unknown_modality", told, f"{place}.modality")
        return await self._read(parts)

    async def ask(self, request: ChatRequest) -> Asked:
        """All that comes before writing.

        Raises:
            Refusal: the request cannot be answered.
        """
        self.require_model(request.model)
        taken = [request.model] if request.model in self.integrations else list(self.integrations)
        parts = samples_of(request.messages, taken, self.limits)
        read = await self._read(parts)
        model = self._model([part.modality for part in parts.values()] or taken[:1])
        prompt, soft = await asyncio.to_thread(prompt_of, model.tokenizer, request.messages, read, self._instructions)
        allowed = self.limits.new_tokens
        wanted = request.max_completion_tokens or request.max_tokens or allowed
        question = Question(
            model,
            prompt,
            soft,
            min(wanted, allowed),
            request.temperature or 0.0,
            request.top_p or 1.0,
            request.seed,
            request.stops,
            recall_of(request.messages, read, self.integrations),
        )
        if question.tokens + question.max_tokens > self._context:
            told = f"{question.tokens} tokens and {question.max_tokens} to be written; {self._context} are allowed"
            raise Refusal(400, "context_length_exceeded", told, "messages")
        return Asked(question, read)

    async def write(self, question: Question) -> AsyncGenerator[Piece, None]:
        """The answer piece by piece; closing the generator ends the work.

        Raises:
            Refusal: it could not be written.
        """
        self._metrics.tokens.labels("prompt").inc(question.tokens)
        tokens = 0
        try:
            async with aclosing(self._backend.write(question)) as pieces:
                async for piece in pieces:
                    tokens = piece.tokens
                    yield piece
        finally:
            self._metrics.tokens.labels("completion").inc(tokens)

    def require_model(self, name: str) -> None:
        """Refuse a model that is not there.

        Raises:
            Refusal: it is not.
        """
        if name not in self.models:
            told = f"no model {name!r} here; there are {', '.join(self.models)}"
            raise Refusal(404, "model_not_found", told, "model")

    async def close(self) -> None:
        """End the threads; what they had to do fails."""
        await self._backend.close()
        await asyncio.to_thread(self._reader.close, CLOSE_S)

    async def _read(self, parts: Mapping[str, ModalityPart]) -> list[Read]:
        """Samples by their places in the request."""
        if len(parts) > self.limits.samples:
            told = f"{len(parts)} samples; {self.limits.samples} are allowed"
            raise Refusal(400, "too_many_samples", told, next(iter(parts)).partition(".")[0])
        unpacked = [
            await _at(place, asyncio.to_thread(unpack, part.data, self.limits)) for place, part in parts.items()
        ]
        reading = [
            asyncio.wrap_future(self._reader.read(part.modality, sample))
            for part, sample in zip(parts.values(), unpacked, strict=True)
        ]
        try:
            return list(await asyncio.gather(*map(_at, parts, reading)))
        finally:
            for each in reading:
                each.cancel()

    def _model(self, modalities: Sequence[str]) -> LanguageModel:
        """The language model of these; a merge has one for each modality, which one prompt cannot mix."""
        models = {model.sha256: model for name in modalities if (model := self.integrations[name].language_model)}
        if len(models) > 1:
            told = f"the language model keeps {', '.join(dict.fromkeys(modalities))} apart; ask about them one by one"
            raise Refusal(400, "invalid_value", told, "messages")
        return next(iter(models.values()))


def _context(language_model: LanguageModel) -> int:
    """How many tokens it can read."""
    config = language_model.model.config.get_text_config()
    return int(getattr(config, "max_position_embeddings", None) or 2**31)


async def _at(place: str, work: Awaitable[T]) -> T:
    """What comes of it; what is wrong with the sample is told of its place in the request."""
    try:
        return await work
    except Refusal as refusal:
        if refusal.status == 400:
            refusal.param = place
        raise
