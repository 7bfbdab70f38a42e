"""What stands between the network and the application: keys, sizes, rates, times, and clients that go away."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from math import ceil
from typing import Any

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from semi.serve.keys import Keys, Rate
from semi.serve.limits import Limits
from semi.serve.metrics import Metrics
from semi.serve.refusal import Refusal

LOOPBACK = {"127.0.0.1", "localhost", "::1"}
OPEN = "/healthz"
"""Needs no key."""
SOONER = "ask for fewer tokens, with fewer samples or a shorter prompt, or again when less is waiting"
ROUTES = {OPEN, "/metrics", "/openapi.json", "/v1/models", "/v1/chat/completions", "/v1/embeddings"}


class Guard:
    """An ASGI middleware. Whatever it lets through has its whole body in memory, and ends in time.

    Args:
        keys: None of them: only requests to this machine by its own name are let through, so that no page in a browser
            can ask by a name that it makes point here.
    """

    def __init__(self, app: ASGIApp, keys: Keys, limits: Limits, metrics: Metrics) -> None:
        self._app, self._keys, self._limits, self._metrics = app, keys, limits, metrics
        self._rate = Rate(limits.per_minute)
        self._active = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, or the lifespan of the server."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, reply = time.monotonic(), _Reply(send)
        try:
            self._admit(scope)
            body = await self._body(Headers(scope=scope), receive)
            await self._answer(scope, body, receive, reply)
        except Refusal as refusal:
            self._metrics.refused.labels(refusal.code).inc()
            await reply.refuse(refusal)
        except _Gone:
            self._metrics.refused.labels("disconnected").inc()
        finally:
            route = _route(scope["path"])
            self._metrics.requests.labels(route, reply.status or "none").inc()
            self._metrics.seconds.labels(route).observe(time.monotonic() - began)

    def _admit(self, scope: Scope) -> None:
        """By what is known before the body."""
        headers, (address, _) = Headers(scope=scope), scope.get("client") or ("", 0)
        key = self._keys.which(headers.get("authorization", ""))
        if wait := self._rate.wait((key, address)):
            message = f"more than {self._limits.per_minute} requests a minute"
            raise Refusal(429, "rate_limit_exceeded", message, retry_after=ceil(wait))
        if not self._keys:
            name = headers.get("host", "").rpartition("]")[0].lstrip("[") or headers.get("host", "").partition(":")[0]
            if name.lower() not in LOOPBACK:
                raise Refusal(421, "wrong_host", "without a key this server answers to localhost only")
        elif key is None and scope["path"] != OPEN:
            raise Refusal(401, "invalid_api_key", "a key is needed: Authorization: Bearer KEY")

    async def _body(self, headers: Headers, receive: Receive) -> bytes:
        most, length = self._limits.body_bytes, headers.get("content-length", "")
        too_large = Refusal(413, "body_too_large", f"a request has at most {most} bytes")
        size = int(length) if length.isascii() and length.isdigit() else 0
        if size > most and "100-continue" in headers.get("expect", "").lower():
            raise too_large  # before it was sent
        parts: list[bytes] = []
        received, more = 0, True
        try:
            async with asyncio.timeout(self._limits.body_s):
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise _Gone
                    part, more = message.get("body", b""), message.get("more_body", False)
                    received += len(part)
                    # What is too large is read to its end and not kept: a client that is still sending, and finds the
                    # connection closed, never sees the answer.
                    if max(size, received) > most:
                        parts.clear()
                    else:
                        parts.append(part)
        except TimeoutError:
            if max(size, received) > most:
                raise too_large from None
            raise Refusal(408, "body_too_slow", f"no whole request in {self._limits.body_s:g} s") from None
        if max(size, received) > most:
            raise too_large
        return b"".join(parts)

    async def _answer(self, scope: Scope, body: bytes, receive: Receive, reply: _Reply) -> None:
        counted = scope["method"] == "POST"
        if counted and self._active >= self._limits.waiting:
            raise Refusal(503, "overloaded", f"{self._limits.waiting} requests wait already", retry_after=1)
        self._active += counted
        self._metrics.active.set(self._active)
        gone = asyncio.create_task(_disconnect(receive))
        work = asyncio.ensure_future(self._app(scope, _replay(body, gone), reply.send))
        try:
            async with asyncio.timeout(self._limits.request_s):
                await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
                if reply.complete:  # the server says "gone" of that too
                    await work
            if not work.done():
                raise _Gone
            work.result()
        except TimeoutError:
            raise Refusal(504, "too_slow", f"no answer in {self._limits.request_s:g} s: {SOONER}") from None
        finally:
            for task in (work, gone):
                task.cancel()
            await asyncio.wait({work, gone})
            if not work.cancelled():
                work.exception()  # it was told above, or nobody is there to hear it
            self._active -= counted
            self._metrics.active.set(self._active)


class _Gone(Exception):
    """The client closed the connection."""


class _Reply:
    """What has been sent of an answer."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status: int | None = None
        self.complete = False
        self._events = False

    async def send(self, message: Message) -> None:
        """For the application."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self._events = Headers(raw=message["headers"]).get("content-type", "").startswith("text/event-stream")
        await self._send(message)
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            self.complete = True

    async def refuse(self, refusal: Refusal) -> None:
        """As the answer, or as the last event of a stream that has begun. Other answers are left unfinished."""
        if self.complete:
            return
        with suppress(TimeoutError, OSError):
            async with asyncio.timeout(1.0):  # a client that reads nothing has to be left
                if self.status is None:
                    headers = refusal.headers | {"Content-Type": "application/json", "Connection": "close"}
                    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
                    raw.append((b"content-length", str(len(refusal.content)).encode()))
                    await self.send({"type": "http.response.start", "status": refusal.status, "headers": raw})
                    await self.send({"type": "http.response.body", "body": refusal.content})
                elif self._events:
                    await self.send({"type": "http.response.body", "body": b"data: " + refusal.content + b"\n\n"})


def _route(path: str) -> str:
    """By what name it is counted; whatever clients think of is one."""
    known = "/v1/models" if path.startswith("/v1/models/") else path
    return known if known in ROUTES else "other"


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _replay(body: bytes, gone: asyncio.Task[None]) -> Receive:
    """The body once more; then nothing until the client goes away."""
    given = False

    async def receive() -> dict[str, Any]:
        nonlocal given
        if not given:
            given = True
            return {"type": "http.request", "body": body, "more_body": False}
        await asyncio.shield(gone)
        return {"type": "http.disconnect"}

    return receive
