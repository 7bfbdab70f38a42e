"""The vLLM backend beside a server that implements vLLM's completions with prompt embeddings over transformers."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Callable, Iterator
from io import BytesIO
from typing import Any

import httpx2
import pytest
import torch
from torch import Tensor

from semi.errors import InputError
from semi.integration import Integration
from tests.serve.conftest import WIDTHS, Running, part, running, user

fastapi: Any = pytest.importorskip("fastapi")
ASKED = [(name, seed, options) for name in WIDTHS for seed in range(3) for options in ({}, {"stop": ["a"]})]


def embeds(text: str) -> Tensor:
    """As vLLM reads them (vllm.renderers, safe_load_prompt_embeds)."""
    with torch.sparse.check_sparse_tensor_invariants():
        tensor = torch.load(BytesIO(base64.b64decode(text, validate=True)), weights_only=True, map_location="cpu")
    assert isinstance(tensor, Tensor)
    assert tensor.dtype in (torch.float32, torch.bfloat16, torch.float16)
    assert tensor.dim() == 2
    assert tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()
    return tensor


def like_vllm(model: Any, tokenizer: Any) -> Any:
    """One token after the other, by the model's own forward pass and nothing of semi's."""
    app = fastapi.FastAPI()

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": [{"id": "tiny", "object": "model"}]}

    @app.post("/v1/completions")
    async def completions(request: dict[str, Any]) -> Any:
        assert request["model"] == "tiny"
        assert request["stream"] is True
        assert request["stream_options"] == {"include_usage": True, "continuous_usage_stats": True}
        rows = embeds(request["prompt_embeds"])[None]
        if request["max_tokens"] == 3:
            return fastapi.responses.JSONResponse({"error": {"message": "out of memory"}}, 500)
        events = written(rows, request["max_tokens"], request["stop"], request["stop_token_ids"])
        return fastapi.responses.StreamingResponse(events, media_type="text/event-stream")

    async def written(rows: Tensor, most: int, stops: list[str], ends: list[int]) -> AsyncIterator[str]:
        ids: list[int] = []
        sent, reason = "", None
        while reason is None:
            with torch.no_grad():
                token = int(model(inputs_embeds=rows).logits[0, -1].argmax())
            if token in ends:
                reason = "stop"
            else:
                ids.append(token)
                rows = torch.cat([rows, model.get_input_embeddings()(torch.tensor([[token]]))], dim=1)
            text = tokenizer.decode(ids, skip_special_tokens=True)
            if found := [text.find(stop) for stop in stops if stop in text]:
                text, reason = text[: min(found)], "stop"
            elif reason is None and len(ids) >= most:
                reason = "length"
            ready = text if reason else text.rstrip("\ufffd")
            choice = {"index": 0, "text": ready[len(sent) :], "finish_reason": reason}
            sent = ready
            yield f"data: {json.dumps({'choices': [choice], 'usage': {'completion_tokens': len(ids)}})}\n\n"
        yield f"data: {json.dumps({'choices': [], 'usage': {'completion_tokens': len(ids)}})}\n\n"
        yield "data: [DONE]\n\n"

    return app


@pytest.fixture(scope="module")
def other(integrations: dict[str, Integration]) -> Iterator[str]:
    """The address of that server."""
    language_model = integrations["wrist"].language_model
    with running(like_vllm(language_model.model, language_model.tokenizer)) as (url, _):
        yield url


@pytest.fixture(scope="module")
def server(other: str, serving: Callable[..., Running]) -> Running:
    from semi.serve.vllm import VLLM

    return serving(backend=VLLM(other))


def answer(server: Running, name: str, seed: int, options: dict[str, Any], **more: Any) -> httpx2.Response:
    asked = user(part(name, seed), "What is it?")  # nothing is recalled of another question
    body = {"model": name, "messages": asked, "max_tokens": 16} | options | more
    return httpx2.post(f"{server.url}/v1/chat/completions", json=body, timeout=60)


@pytest.mark.parametrize("asked", ASKED, ids=str)
def test_the_text_is_that_of_the_backend_in_process(
    server: Running, serving: Callable[..., Running], asked: tuple[str, int, dict[str, Any]]
) -> None:
    """Token for token: as many, and the same text."""
    there, here = (answer(each, *asked).json() for each in (server, serving()))
    assert there["choices"] == here["choices"]
    assert there["usage"] == here["usage"]
    streamed = answer(server, *asked, stream=True).text
    events = [
        json.loads(event.removeprefix("data: ")) for event in streamed.split("\n\n") if event.startswith("data: {")
    ]
    text = "".join(event["choices"][0]["delta"].get("content", "") for event in events)
    assert text == here["choices"][0]["message"]["content"]


def test_a_server_that_fails(server: Running) -> None:
    told = answer(server, "wrist", 0, {"max_tokens": 3})
    assert (told.status_code, told.json()["error"]["code"]) == (502, "backend_failed")
    assert "out of memory" in told.json()["error"]["message"]
    streamed = answer(server, "wrist", 0, {"max_tokens": 3}, stream=True).text
    assert json.loads(streamed.strip().split("\n\n")[-1].removeprefix("data: "))["error"]["code"] == "backend_failed"
    assert answer(server, "wrist", 0, {}).status_code == 200


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "nowhere", "http://"])
def test_a_server_that_is_not_there(url: str) -> None:
    from semi.serve.vllm import VLLM

    with pytest.raises(InputError, match="does not name its models"):
        VLLM(url)
