"""The OpenAPI page, and what schemathesis makes of it: nothing that is sent brings the server to its knees."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings

from tests.serve.conftest import Running, eventually

schemathesis: Any = pytest.importorskip("schemathesis")


@pytest.fixture(scope="module")
def server(serving: Callable[..., Running]) -> Running:
    return serving(new_tokens=2)


ROUTES = [
    "GET /healthz",
    "GET /metrics",
    "GET /v1/models",
    "GET /v1/models/{name}",
    "POST /v1/chat/completions",
    "POST /v1/embeddings",
]


def name_what_is_there(body: dict[str, Any]) -> None:
    """Names drawn at random would all be refused."""
    body["model"] = "wrist"
    for message in body.get("messages", []):
        for each in message["content"] if isinstance(message["content"], list) else []:
            each |= {"modality": "wrist"} if each["type"] == "modality" else {}


@pytest.mark.parametrize("mode", [schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE], ids=str)
@pytest.mark.parametrize("route", ROUTES)
def test_a_route_answers_as_its_page_says(server: Running, route: str, mode: Any) -> None:
    """What fits the page, and what does not, are answered with a status and a body of the page, and none is 500."""
    method, path = route.split()
    operation = schemathesis.openapi.from_url(f"{server.url}/openapi.json")[path][method]
    if mode is schemathesis.GenerationMode.NEGATIVE and method == "GET":
        pytest.skip("nothing can be wrong with it")
    checks = schemathesis.checks

    @settings(max_examples=60 if method == "POST" else 3, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(operation.as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        if mode is schemathesis.GenerationMode.POSITIVE and method == "POST":
            name_what_is_there(case.body)
        case.call_and_validate(
            checks=[
                checks.not_a_server_error,
                checks.status_code_conformance,
                checks.content_type_conformance,
                checks.response_schema_conformance,
            ]
        )

    ask()
    if mode is schemathesis.GenerationMode.POSITIVE and "chat" in path:  # some conversations are without samples
        eventually(lambda: server.counted("semi_requests_total", route=path, status="200") > 0)


def test_a_stream_is_as_its_page_says(server: Running) -> None:
    operation = schemathesis.openapi.from_url(f"{server.url}/openapi.json")["/v1/chat/completions"]["POST"]
    messages = [{"role": "user", "content": "Hello."}]
    body = {"model": "wrist", "messages": messages, "stream": True, "max_tokens": 2}
    answer = operation.Case(body=body, media_type="application/json").call_and_validate()
    assert answer.headers["content-type"][0].startswith("text/event-stream")


def test_all_routes_are_tried(server: Running) -> None:
    paths = httpx2.get(f"{server.url}/openapi.json").json()["paths"]
    assert sorted(f"{method.upper()} {path}" for path, of in paths.items() for method in of) == sorted(ROUTES)


def test_the_page_names_what_can_go_wrong(server: Running) -> None:
    page = httpx2.get(f"{server.url}/openapi.json").json()
    chat = page["paths"]["/v1/chat/completions"]["post"]["responses"]
    assert {"200", "400", "401", "413", "429", "503"} <= set(chat)
    assert "422" not in chat
