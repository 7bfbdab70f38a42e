"""What a client may ask for at most."""

from __future__ import annotations

from dataclasses import dataclass, fields

from semi.errors import InputError


@dataclass(frozen=True)
class Limits:
    """Bounds of one server; what is beyond one of them is refused, and counted.

    Raises:
        InputError: a limit is not above 0.
    """

    body_bytes: int = 8 * 2**20
    """Of a request."""
    body_s: float = 10.0
    """In which a whole request has to arrive."""
    request_s: float = 120.0
    """From a whole request to the end of its answer."""
    per_minute: int = 600
    """Requests of one client, which has a tenth of them at once."""
    waiting: int = 64
    """Requests that are being answered or wait for it."""
    connections: int = 256
    samples: int = 8
    """In one request."""
    numbers: int = 1_000_000
    """In one sample that is an array."""
    characters: int = 32_768
    """Of text in one request."""
    new_tokens: int = 512
    """Of one answer."""
    batch: int = 8
    """Texts that are written together: the longest holds up the others."""

    def __post_init__(self) -> None:
        for each in fields(self):
            if not getattr(self, each.name) > 0:
                raise InputError(
                    f"the limit {each.name} is no limit", got=getattr(self, each.name), expected="a number above 0"
                )
