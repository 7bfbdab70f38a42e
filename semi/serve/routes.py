"""The routes of OpenAI's API."""

from __future__ import annotations

import base64
import time
import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response, StreamingResponse
from pydantic import BaseModel

from semi.serve.backend import Finish
from semi.serve.engine import Asked, Engine
from semi.serve.reader import Read
from semi.serve.refusal import Refusal
from semi.serve.schema import (
    Answer,
    ChatAnswer,
    ChatChunk,
    ChatRequest,
    Choice,
    ChunkChoice,
    Delta,
    Embedding,
    EmbeddingAnswer,
    EmbeddingRequest,
    Label,
    Model,
    Models,
    Seen,
    Usage,
)

EVENT = {"type": "object", "required": ["data"], "properties": {"data": {"type": "string"}}}
"""What a page says of one event of a stream (OpenAPI 3.2, section 4.14.4)."""
EVENTS: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/event-stream": {"itemSchema": EVENT}}, "model": ChatAnswer}
}


def openai_routes(engine: Engine) -> APIRouter:
    """/v1/models, /v1/chat/completions and /v1/embeddings."""
    router, since = APIRouter(prefix="/v1"), int(time.time())

    @router.get("/models")
    async def models() -> Models:
        """What can be asked for: the language model, about any modality, and each modality."""
        return Models(data=[Model(id=name, created=since) for name in engine.models])

    @router.get("/models/{name:path}")
    async def model(name: str) -> Model:
        """One of them; the name of a language model may have slashes."""
        engine.require_model(name)
        return Model(id=name, created=since)

    @router.post("/chat/completions", responses=EVENTS)
    async def chat(request: ChatRequest) -> Response:
        """The next message of a conversation in which samples stand among the words."""
        asked = await engine.ask(request)
        if request.stream:
            return StreamingResponse(_streamed(engine, request, asked), media_type="text/event-stream")
        text, tokens = "", 0
        finish: Finish = "stop"
        async with aclosing(engine.write(asked.question)) as pieces:
            async for piece in pieces:
                text, tokens, finish = text + piece.text, piece.tokens, piece.finish or finish
        answer = ChatAnswer(
            id=_id(),
            created=int(time.time()),
            model=request.model,
            choices=[Choice(message=Answer(content=text), finish_reason=finish)],
            usage=_usage(asked, tokens),
            samples=[_seen(each) for each in asked.read],
        )
        return Response(answer.model_dump_json(), media_type="application/json")

    @router.post("/embeddings")
    async def embeddings(request: EmbeddingRequest) -> EmbeddingAnswer:
        """Where samples lie, the labels nearest to them, and whether they are unlike anything seen."""
        read = await engine.read(request)
        tokens = sum(len(each.soft) for each in read)
        return EmbeddingAnswer(
            model=request.model,
            data=[_embedding(i, each, request.encoding_format) for i, each in enumerate(read)],
            usage=Usage(prompt_tokens=tokens, total_tokens=tokens),
        )

    return router


async def _streamed(engine: Engine, request: ChatRequest, asked: Asked) -> AsyncGenerator[bytes, None]:
    """Server-sent events; an error after the first is an event too."""
    whole = ChatChunk(id=_id(), created=int(time.time()), model=request.model, choices=[])

    def chunk(delta: Delta, finish: str | None = None, **more: object) -> bytes:
        choice = ChunkChoice.model_validate({"delta": delta, "finish_reason": finish})
        return _event(whole.model_copy(update={"choices": [choice], **more}))

    yield chunk(Delta(role="assistant", content=""), samples=[_seen(each) for each in asked.read])
    tokens = 0
    try:
        async with aclosing(engine.write(asked.question)) as pieces:
            async for piece in pieces:
                tokens = piece.tokens
                if piece.text:
                    yield chunk(Delta(content=piece.text))
                if piece.finish:
                    yield chunk(Delta(), piece.finish)
    except Refusal as refusal:
        yield b"data: " + refusal.content + b"\n\n"
        return
    if request.stream_options and request.stream_options.include_usage:
        yield _event(whole.model_copy(update={"usage": _usage(asked, tokens)}))
    yield b"data: [DONE]\n\n"


def _event(value: BaseModel) -> bytes:
    return b"data: " + value.model_dump_json(exclude_none=True).encode() + b"\n\n"


def _id() -> str:
    return f"chatcmpl-{uuid.uuid4().hex}"


def _usage(asked: Asked, tokens: int) -> Usage:
    prompt = asked.question.tokens
    return Usage(prompt_tokens=prompt, completion_tokens=tokens, total_tokens=prompt + tokens)


def _seen(read: Read) -> Seen:
    nearest = [Label(**asdict(each)) for each in read.nearest]
    return Seen(modality=read.modality, nearest=nearest, unlike_anything_seen=read.unlike)


def _embedding(index: int, read: Read, encoding: str) -> Embedding:
    mean = read.soft.float().mean(0).cpu().numpy()  # (d_lm,)
    packed = base64.b64encode(mean.astype("<f4").tobytes()).decode() if encoding == "base64" else mean.tolist()
    return Embedding(index=index, embedding=packed, **_seen(read).model_dump())
