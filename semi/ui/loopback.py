"""What stands between the network and the page: this machine alone, and nothing fetched from elsewhere."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from semi.errors import InputError

HOST = "127.0.0.1"
NAMES = {HOST, "localhost"}
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' data: blob:; worker-src 'self' blob:; object-src 'none'; "
    "base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)
"""No browser fetches from elsewhere with it. Gradio's page has scripts inline and makes functions of text."""


class Loopback:
    """An ASGI middleware: only pages of this server ask it anything, by names of this machine.

    A page of another site could otherwise send files here, or reach it by a name that it makes point here.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, or the lifespan of the server."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if not _ours(Headers(scope=scope)):
            await PlainTextResponse("this page is for this machine only\n", 403)(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                found = MutableHeaders(scope=message)
                found["content-security-policy"] = POLICY
                found["referrer-policy"] = "no-referrer"
                found["x-content-type-options"] = "nosniff"
            await send(message)

        await self._app(scope, receive, guarded)


def _ours(headers: Headers) -> bool:
    """Whether a request is to this machine by a name of its own, and from no page of another site."""
    host, origin = headers.get("host", ""), headers.get("origin")
    try:
        return urlsplit(f"//{host}").hostname in NAMES and (origin is None or urlsplit(origin).netloc == host)
    except ValueError:  # no address at all
        return False


def listen(port: int) -> socket.socket:
    """A socket of this machine alone.

    Args:
        port: 0: any that is free.

    Raises:
        InputError: the port is taken.
    """
    try:
        return socket.create_server((HOST, port))
    except OSError as error:
        raise InputError(f"port {port} cannot be had", got=error.strerror, do="choose another: --port 0") from error
