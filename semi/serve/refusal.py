"""What a client is told when it gets no answer, in OpenAI's shape."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from semi.errors import SemiError

TYPES = {401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error"}


@dataclass
class Refusal(Exception):
    """A request that is not answered.

    Attributes:
        status: of HTTP.
        code: a word for programs, by which metrics count it.
        message: a sentence for people.
        param: the part of the request that is at fault.
        retry_after: seconds after which the same request may be answered.
    """

    status: int
    code: str
    message: str
    param: str | None = None
    retry_after: int | None = None

    @property
    def body(self) -> dict[str, Any]:
        """What is sent."""
        kind = TYPES.get(self.status, "server_error" if self.status >= 500 else "invalid_request_error")
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}

    @property
    def content(self) -> bytes:
        """What is sent, as bytes."""
        return json.dumps(self.body).encode()

    @property
    def headers(self) -> dict[str, str]:
        """Beside it."""
        found = {"Retry-After": str(self.retry_after)} if self.retry_after is not None else {}
        return found | ({"WWW-Authenticate": "Bearer"} if self.status == 401 else {})


def wrong_input(error: SemiError, param: str | None = None) -> Refusal:
    """An error about what the client sent; what to do about it is for somebody at the server's keyboard."""
    got = [] if error.got is None else [f"got {error.got}"]
    expected = [] if error.expected is None else [f"expected {error.expected}"]
    return Refusal(400, "invalid_value", "; ".join([error.what, *got, *expected]), param)


def ended() -> Refusal:
    """What is told of work that a server leaves when it ends."""
    return Refusal(503, "shutting_down", "the server ends", retry_after=5)
