"""Clients that are slow, large, wrong or gone: answered or closed, counted, and others are served meanwhile."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx2
import pytest

from semi.serve.backend import Piece
from tests.serve.conftest import Running, eventually, part, sample, user

CHAT = {"model": "wrist", "messages": user(part("wrist", 0)), "max_tokens": 4}
LIMITS = {"body_bytes": 20_000, "body_s": 1.0, "samples": 2, "numbers": 100, "characters": 200}


@pytest.fixture(scope="module")
def server(serving: Callable[..., Running]) -> Running:
    return serving(**LIMITS)


@pytest.fixture(autouse=True)
def others_are_served(server: Running) -> Iterator[None]:
    """Whatever a test does."""
    yield
    assert post(server, CHAT).status_code == 200


def post(server: Running, body: Any, path: str = "/v1/chat/completions", **options: Any) -> httpx2.Response:
    options |= {"content": body} if isinstance(body, bytes) else {"json": body}
    return httpx2.post(f"{server.url}{path}", timeout=60, **options)


@contextmanager
def connected(server: Running) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        yield connection


def head(length: int, path: str = "/v1/chat/completions", more: str = "") -> bytes:
    lines = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n"
    return f"{lines}{more}\r\n".encode()


def answered(connection: socket.socket) -> tuple[int, dict[str, Any]]:
    """Status and error of what comes until the connection is closed."""
    content = b""
    while more := connection.recv(65536):
        content += more
    start, _, body = content.partition(b"\r\n\r\n")
    return int(start.split()[1]), json.loads(body)["error"]


def refusals(server: Running, reason: str) -> float:
    return server.counted("semi_refused_total", reason=reason)


def data(**of: Any) -> dict[str, Any]:
    return {"model": "wrist", "messages": user({"type": "modality", "modality": "wrist", "data": of})}


NESTED: Any = [1.0]
for _ in range(60):
    NESTED = [NESTED]

WRONG = {
    "no JSON": (b"{", 400, "invalid_request"),
    "not UTF-8": (b'{"model": "\xff"}', 400, "invalid_request"),
    "too deep": (b"[" * 15_000, 400, "invalid_request"),
    "an empty object": ({}, 400, "invalid_request"),
    "no messages": ({"model": "wrist", "messages": []}, 400, "invalid_request"),
    "an unknown option": (CHAT | {"tools": []}, 400, "invalid_request"),
    "several answers": (CHAT | {"n": 2}, 400, "invalid_request"),
    "a part of no known type": ({"model": "wrist", "messages": user({"type": "image_url"})}, 400, "invalid_request"),
    "an answer as the last message": (
        {"model": "wrist", "messages": [{"role": "assistant", "content": "a"}]},
        400,
        "invalid_value",
    ),
    "a placeholder": ({"model": "wrist", "messages": user("<|modality|>")}, 400, "invalid_value"),
    "too much text": ({"model": "wrist", "messages": user("a" * 201)}, 400, "text_too_long"),
    "too many samples": ({"model": "wrist", "messages": user(*[part("wrist", 0)] * 3)}, 400, "too_many_samples"),
    "no data": (data(), 400, "invalid_request"),
    "two forms": (data(values=[1.0], text="a"), 400, "invalid_request"),
    "text as numbers": (data(values=["1", "2", "3", "4"]), 400, "invalid_value"),
    "ragged": (data(values=[[1.0], [1.0, 2.0]]), 400, "invalid_value"),
    "nested": (data(values=NESTED), 400, "invalid_value"),
    "too many numbers": (data(values=[1.0] * 101), 400, "sample_too_large"),
    "NaN": (b'{"model": "wrist", "messages": [{"role": "user", "content": [{"type": "modality", "modality": "wrist", '
            b'"data": {"values": [NaN, 1, 1, 1]}}]}]}', 400, "invalid_value"),
    "huge integers": (data(values=[10**400, 1, 1, 1]), 400, "invalid_value"),
    "another width": (data(values=[1.0, 2.0]), 400, "invalid_value"),
    "no base64": (data(float32="!!", shape=[4]), 400, "invalid_value"),
    "another size": (data(float32="AAAA", shape=[4]), 400, "invalid_value"),
    "a huge shape": (data(float32="AAAA", shape=[2**40, 2**40]), 400, "sample_too_large"),
    "a file of no kind": (data(file="AAAA", name="sample"), 400, "invalid_value"),
    "a name that climbs": (data(file="AAAA", name="../../x.npy/.."), 400, "invalid_value"),
    "no such file": (data(file="AAAA", name="x.npy"), 400, "invalid_value"),
    "a playlist": (data(file="I0VYVE0zVQo=", name="x.mp4"), 400, "invalid_value"),
    "a rate of nothing": (data(values=[1.0], rate=0), 400, "invalid_request"),
    "a path": (data(text="/etc/hostname"), 400, "invalid_value"),
    "a path with blanks": (data(text=" /etc/hostname"), 400, "invalid_value"),
    "a path that climbs": (data(text="a/../../etc/hostname"), 400, "invalid_value"),
    "a described path": (data(text=' {"file": "/etc/hostname"}'), 400, "invalid_value"),
    "a relative path": (data(text="sample.npy"), 400, "invalid_value"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said(server: Running, case: str) -> None:
    body, status, code = WRONG[case]
    options = {"headers": {"content-type": "application/json"}} if isinstance(body, bytes) else {}
    before = refusals(server, code)
    answer = post(server, body, **options)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), answer.text
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    assert "/tmp" not in answer.text
    assert "semi-serve" not in answer.text
    assert refusals(server, code) == before + 1


def test_other_routes_and_hosts(server: Running) -> None:
    for path in ("/", "/docs", "/v1/completions"):
        assert httpx2.get(server.url + path).json()["error"]["code"] == "not_found"
    assert httpx2.get(f"{server.url}/v1/embeddings").json()["error"]["code"] == "method_not_allowed"
    elsewhere = httpx2.get(f"{server.url}/v1/models", headers={"host": "evil.example"})
    assert (elsewhere.status_code, elsewhere.json()["error"]["code"]) == (421, "wrong_host")
    assert httpx2.get(f"{server.url}/v1/models", headers={"host": "[::1]:80"}).status_code == 200


@pytest.mark.parametrize("declared", [True, False], ids=["declared", "chunked"])
def test_a_body_of_100_MB_is_refused_and_not_kept(server: Running, declared: bool) -> None:
    block, blocks = b"a" * 2**20, 100

    def sent() -> Iterator[bytes]:
        for _ in range(blocks):
            yield block

    headers = {"content-length": str(blocks * len(block))} if declared else {}
    before = refusals(server, "body_too_large")
    # in the second in which it has to arrive it does not, on a busy machine: then the connection is closed
    try:
        answer = httpx2.post(f"{server.url}/v1/embeddings", content=sent(), headers=headers, timeout=60)
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "body_too_large")
    except httpx2.TransportError:
        pass
    eventually(lambda: refusals(server, "body_too_large") == before + 1)


def test_a_body_that_is_too_large_is_refused_before_it_is_sent(server: Running) -> None:
    with connected(server) as connection:
        connection.sendall(head(10**8, more="Expect: 100-continue\r\n"))
        assert answered(connection)[1]["code"] == "body_too_large"


def test_half_a_body_is_not_waited_for(server: Running) -> None:
    with connected(server) as connection:
        connection.sendall(head(100) + b"{")
        status, error = answered(connection)
    assert (status, error["code"]) == (408, "body_too_slow")


@pytest.mark.parametrize("sent", [b"", b"POST /v1/chat"], ids=["nothing", "half a head"])
def test_half_a_head_is_not_waited_for(server: Running, sent: bytes) -> None:
    before = refusals(server, "headers_too_slow")
    with connected(server) as connection:
        connection.sendall(sent)
        assert connection.recv(100) == b""
    eventually(lambda: refusals(server, "headers_too_slow") == before + 1)


def test_a_head_byte_by_byte_is_not_waited_for(server: Running) -> None:
    def drip(connection: socket.socket) -> None:
        for byte in head(2) * 100:
            connection.sendall(bytes([byte]))
            time.sleep(0.05)

    with connected(server) as connection, pytest.raises((BrokenPipeError, ConnectionResetError)):
        drip(connection)


def test_a_connection_that_is_closed_in_the_body(server: Running) -> None:
    before = refusals(server, "disconnected")
    with connected(server) as connection:
        connection.sendall(head(100) + b"{")
    eventually(lambda: refusals(server, "disconnected") == before + 1)


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
def test_a_client_that_goes_away_ends_its_work(serving: Callable[..., Running], stream: bool) -> None:
    server = serving(**LIMITS, new_tokens=400)
    before = refusals(server, "disconnected")
    written = server.counted("semi_tokens_total", kind="completion")
    body = json.dumps(CHAT | {"max_tokens": 400, "stream": stream}).encode()
    with connected(server) as connection:
        connection.sendall(head(len(body)) + body)
        if stream:
            assert b"200 OK" in connection.recv(100)
        else:
            eventually(lambda: server.counted("semi_texts_batch_count") > 0)
    eventually(lambda: refusals(server, "disconnected") == before + 1)
    eventually(lambda: server.counted("semi_requests_active") == 0)
    assert server.counted("semi_tokens_total", kind="completion") - written < 400


def test_time_is_limited(serving: Callable[..., Running]) -> None:
    server = serving(request_s=0.001)
    answer = post(server, CHAT)
    assert (answer.status_code, answer.json()["error"]["code"]) == (504, "too_slow")


class Thinking:
    """A backend that never comes to an end."""

    async def write(self, question: Any) -> AsyncGenerator[Piece, None]:
        yield Piece("well", 1)
        await asyncio.Event().wait()

    async def close(self) -> None:
        pass


def test_more_than_can_wait_are_sent_away(serving: Callable[..., Running]) -> None:
    server = serving(waiting=1, backend=Thinking())
    body = json.dumps(CHAT | {"stream": True}).encode()
    with connected(server) as connection:
        connection.sendall(head(len(body)) + body)
        connection.recv(100)
        answer = post(server, CHAT)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert httpx2.get(f"{server.url}/healthz").status_code == 200
    eventually(lambda: server.counted("semi_requests_active") == 0)


def test_a_stream_that_takes_too_long_ends_with_an_error(serving: Callable[..., Running]) -> None:
    server = serving(request_s=1.0, backend=Thinking())
    events = post(server, CHAT | {"stream": True}).text.strip().split("\n\n")
    assert json.loads(events[-1].removeprefix("data: "))["error"]["code"] == "too_slow"


def test_rates_are_limited(serving: Callable[..., Running]) -> None:
    server = serving(per_minute=20)
    answers = [httpx2.get(f"{server.url}/v1/models") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert int(answers[-1].headers["retry-after"]) >= 1


def test_a_key_opens_everything_but_health(serving: Callable[..., Running]) -> None:
    server = serving(keys=("one", "two"))
    for path in ("/v1/models", "/metrics", "/openapi.json"):
        assert httpx2.get(server.url + path).status_code == 401
        for key, status in {"one": 200, "two": 200, "three": 401, "one two": 401}.items():
            answer = httpx2.get(server.url + path, headers={"authorization": f"Bearer {key}"})
            assert answer.status_code == status, (path, key)
    assert httpx2.get(f"{server.url}/healthz").json() == {"status": "ok"}
    assert refusals(server, "invalid_api_key") == 9


def test_a_conversation_that_is_too_long(serving: Callable[..., Running]) -> None:
    server = serving()
    answer = post(server, {"model": "wrist", "messages": user("red " * 600)})
    assert answer.json()["error"]["code"] == "context_length_exceeded"


def test_embeddings_of_what_is_none(server: Running) -> None:
    for body, code in (
        ({"model": "nothing", "input": "a"}, "model_not_found"),
        ({"model": "wrist", "input": []}, "invalid_request"),
        ({"model": "wrist", "input": {"values": sample("camera", 0)}}, "invalid_value"),
    ):
        assert post(server, body, "/v1/embeddings").json()["error"]["code"] == code
