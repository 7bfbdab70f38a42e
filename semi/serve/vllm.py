"""The backend `vllm`: a vLLM server holds the language model and is sent prompts as input embeddings.

It has to run with `--enable-prompt-embeds` (https://docs.vllm.ai/en/stable/features/prompt_embeds), from the same files
as the language model of the integrations. Its completions endpoint takes base64 of a tensor as torch.save writes it:
this is what we send. Nothing of the kind is ever read here.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncGenerator, AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from io import BytesIO
from typing import Any

import httpx2
import torch

from semi.errors import InputError
from semi.serve.backend import Piece, Question
from semi.serve.growing import GrowingText
from semi.serve.refusal import Refusal

CONNECT_S = 5.0


class VLLM:
    """Asks a vLLM server; what is in a batch is its business.

    Args:
        url: of the server, "http://127.0.0.1:8001".
        model: as the server names it; None: the only one that it has.
        key: of the server, if it wants one.

    Raises:
        InputError: there is no such server, or it has several models and none is named.
    """

    def __init__(self, url: str, model: str | None = None, key: str | None = None) -> None:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._model = model or _only_model(url, headers)
        # no limit of its own: a request ends when the one that it serves does
        timeout = httpx2.Timeout(None, connect=CONNECT_S)
        self._client = httpx2.AsyncClient(base_url=url, headers=headers, timeout=timeout)
        self._language_model = ThreadPoolExecutor(1, thread_name_prefix="semi texts")
        """The one thread that uses it."""

    async def write(self, question: Question) -> AsyncGenerator[Piece, None]:
        """See `Backend`."""
        sent = await asyncio.get_running_loop().run_in_executor(self._language_model, self._request, question)
        growing = GrowingText(question.stops)
        text, tokens = "", 0
        async with self._streamed(sent) as chunks:
            async for chunk in chunks:
                tokens = (chunk.get("usage") or {}).get("completion_tokens", tokens)
                if not chunk["choices"]:
                    continue
                [choice] = chunk["choices"]
                text += choice["text"]
                if reason := choice["finish_reason"]:
                    finish: Any = "length" if reason == "length" else "stop"
                    yield Piece(growing.grow(text, last=True), tokens, finish)
                    return
                if more := growing.grow(text):
                    yield Piece(more, tokens)
        raise _unanswered("the stream ended early")

    async def close(self) -> None:
        """See `Backend`."""
        self._language_model.shutdown()
        await self._client.aclose()

    def _request(self, question: Question) -> dict[str, Any]:
        content = BytesIO()
        torch.save(question.inputs().detach().float().cpu().clone(), content)  # a view would bring what it is a view of
        return {
            "model": self._model,
            "prompt_embeds": base64.b64encode(content.getvalue()).decode(),
            "max_tokens": question.max_tokens,
            "temperature": question.temperature,
            "top_p": question.top_p,
            "seed": question.seed,
            "stop": list(question.stops),
            "stop_token_ids": question.language_model.end,
            "stream": True,
            "stream_options": {"include_usage": True, "continuous_usage_stats": True},
        }

    @asynccontextmanager
    async def _streamed(self, sent: dict[str, Any]) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
        """The chunks of an answer; leaving closes the connection, by which the server knows that nobody waits."""
        try:
            async with self._client.stream("POST", "/v1/completions", json=sent) as response:
                if response.status_code != 200:
                    told = (await response.aread()).decode(errors="replace")
                    raise _unanswered(f"status {response.status_code}: {told[:200]}")
                yield _events(response.aiter_lines())
        except (httpx2.HTTPError, ValueError, KeyError) as error:  # out of reach, or no chunks of completions
            raise _unanswered(f"{type(error).__name__}: {error}") from error


async def _events(lines: AsyncIterator[str]) -> AsyncIterator[dict[str, Any]]:
    """The JSON of server-sent events up to [DONE]."""
    async for line in lines:
        if line.startswith("data:") and (data := line[5:].strip()) != "[DONE]":
            yield json.loads(data)


def _unanswered(why: str) -> Refusal:
    return Refusal(502, "backend_failed", f"the language model's server gave no text: {why}", retry_after=5)


def _only_model(url: str, headers: dict[str, str]) -> str:
    expected = "a vLLM server, started with --enable-prompt-embeds"
    try:
        response = httpx2.get(f"{url.rstrip('/')}/v1/models", headers=headers, timeout=CONNECT_S)
        names = [str(each["id"]) for each in response.raise_for_status().json()["data"]]
    except (httpx2.HTTPError, httpx2.InvalidURL, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{url} does not name its models", got=error, expected=expected) from error
    if len(names) != 1:
        do = "name one: --backend-model NAME"
        raise InputError(f"{url} has several models", got=", ".join(names) or "none", expected="one", do=do)
    return names[0]
