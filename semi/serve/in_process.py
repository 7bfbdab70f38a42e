"""The backend `transformers`: the language model in this process, in a thread of its own, a batch at a time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from threading import Thread
from typing import Any

import torch
from torch import Tensor
from transformers import TopPLogitsWarper

from semi.prefill import Prefill
from semi.serve.backend import Finish, Piece, Question
from semi.serve.batches import Batches
from semi.serve.growing import GrowingText
from semi.serve.refusal import Refusal, ended

_LOG = logging.getLogger(__name__)


class InProcess:
    """What waits when a batch is done is the next one.

    Args:
        batch: texts in a batch.
        observe: told the size of each.
    """

    def __init__(self, batch: int, observe: Callable[[int], None]) -> None:
        self._observe = observe
        self._batches: Batches[_Text] = Batches(batch)
        self._closed = False
        self._thread = Thread(target=self._run, name="semi texts", daemon=True)
        self._thread.start()

    async def write(self, question: Question) -> AsyncGenerator[Piece, None]:
        """See `Backend`."""
        text = _Text(question)
        if not self._batches.put(text):
            raise ended()
        try:
            while True:
                piece = await text.pieces.get()
                if isinstance(piece, Refusal):
                    raise piece
                yield piece
                if piece.finish:
                    return
        finally:
            text.unwanted = True

    async def close(self) -> None:
        """See `Backend`; a batch ends after its next token."""
        self._closed = True
        for text in self._batches.close():
            text.fail(ended())
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        while texts := self._batches.take():
            # several language models are the modalities of a merge
            for model in {id(text.question.language_model): text.question.language_model for text in texts}.values():
                self._write([text for text in texts if text.question.language_model is model])
            del texts, model  # nothing of a client's is held while there is nothing to do

    def _write(self, texts: Sequence[_Text]) -> None:
        texts = [text for text in texts if not text.unwanted]
        if not texts:
            return
        self._observe(len(texts))
        try:
            _write_batch(texts, lambda: self._closed)
        except (
            Exception
        ) as error:  # a language model raises anything: out of memory, most likely; one by one they may fit
            _LOG.exception("%d texts could not be written", len(texts))
            retried = [text for text in texts if len(texts) > 1 and not text.ids]
            for text in texts:
                if text not in retried:
                    text.fail(Refusal(500, "generation_failed", f"no text could be written: {type(error).__name__}"))
            for text in retried:
                self._write([text])


class _Text:
    """One text of a batch, while it is written; made in the event loop that takes its pieces."""

    def __init__(self, question: Question) -> None:
        self.question = question
        self.ids: list[int] = []
        self.unwanted = False
        self.done = False
        self.pieces: asyncio.Queue[Piece | Refusal] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()
        self._growing = GrowingText(question.stops)
        self._drawing: torch.Generator | None = None

    def take(self, token: int) -> bool:
        """Take the next token. Whether the text ends there."""
        if self.done or self.unwanted:
            return True
        model = self.question.language_model
        turn_ends = token in model.end
        if not turn_ends:
            self.ids.append(token)
        full = len(self.ids) >= self.question.max_tokens
        text = model.tokenizer.decode(self.ids, skip_special_tokens=True)
        more = self._growing.grow(text, last=turn_ends or full)
        self.done = turn_ends or full or self._growing.stopped
        finish: Finish | None = None
        if self.done:
            finish = "stop" if turn_ends or self._growing.stopped else "length"
        if more or finish:
            self._send(Piece(more, len(self.ids), finish))
        return self.done

    def changed(self, scores: Tensor) -> Tensor:
        """Scores (vocabulary,) whose largest is drawn with the probabilities that the question asks for.

        By the Gumbel-max trick, from random numbers of its own: what else is in the batch does not matter.
        """
        asked = self.question
        if asked.temperature == 0 or self.done:
            return scores
        if self._drawing is None:
            self._drawing = torch.Generator(scores.device)
            if asked.seed is None:
                self._drawing.seed()
            else:
                self._drawing.manual_seed(asked.seed)
        scores = scores[None].float() / asked.temperature
        if asked.top_p < 1:
            scores = TopPLogitsWarper(asked.top_p)(None, scores)
        waits = torch.empty_like(scores).exponential_(generator=self._drawing)
        return (scores - waits.log())[0]

    def fail(self, refusal: Refusal) -> None:
        """Tell whoever waits for it."""
        if not self.done:
            self.done = True
            self._send(refusal)

    def _send(self, piece: Piece | Refusal) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.pieces.put_nowait, piece)


def _write_batch(texts: Sequence[_Text], closed: Callable[[], bool]) -> None:
    def ends(ids: Tensor, scores: Any) -> Tensor:
        if closed():
            for text in texts:
                text.fail(ended())
        found = [text.take(token) for text, token in zip(texts, ids[:, -1].tolist(), strict=True)]
        return torch.tensor(found, device=ids.device)

    def change(ids: Tensor, scores: Tensor) -> Tensor:
        return torch.stack([text.changed(row) for text, row in zip(texts, scores, strict=True)])

    drawn = any(text.question.temperature > 0 for text in texts)
    rows, recall = [text.question.inputs() for text in texts], [text.question.recall for text in texts]
    read = Prefill(texts[0].question.language_model, rows, recall)
    most = max(text.question.max_tokens for text in texts)
    read.tokens(max_new_tokens=most, ends=[ends], change=[change] if drawn else [])
