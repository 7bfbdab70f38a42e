"""Only this machine, by its own names, and from pages of this server."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from semi.errors import InputError
from semi.ui.loopback import HOST, POLICY, Loopback, listen


def status(**headers: str) -> tuple[int, dict[str, str]]:
    """What a request with these headers is answered."""
    pytest.importorskip("starlette")
    sent: list[Any] = []

    async def page(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request"}

    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    asyncio.run(Loopback(page)({"type": "http", "method": "GET", "headers": raw}, receive, send))
    return sent[0]["status"], {name.decode(): value.decode() for name, value in sent[0]["headers"]}


@pytest.mark.parametrize("host", ["127.0.0.1:7860", "localhost:7860", "localhost"])
def test_by_its_own_names(host: str) -> None:
    code, headers = status(host=host)
    assert code == 200
    assert headers["content-security-policy"] == POLICY
    assert status(host=host, origin=f"http://{host}")[0] == 200


@pytest.mark.parametrize("host", ["", "evil.example", "127.0.0.1.evil.example", "localhost@evil.example", "[", "::1"])
def test_by_no_other_name(host: str) -> None:
    assert status(host=host)[0] == 403


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://localhost:7861", "http://[", ""])
def test_from_no_other_page(origin: str) -> None:
    assert status(host="localhost:7860", origin=origin)[0] == 403


def test_a_port_that_is_taken_is_refused() -> None:
    with listen(0) as first:
        assert first.getsockname()[0] == HOST
        with pytest.raises(InputError, match="cannot be had"):
            listen(first.getsockname()[1])
