"""Who may ask, and how often."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence

MOST_CLIENTS = 10_000
"""Remembered; those not heard of for longest are forgotten, with what they have used up."""


class Keys:
    """The keys of a server.

    Args:
        keys: of which a client has to know one; none: nobody has to.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        self._known = [_digest(key) for key in keys]

    def __bool__(self) -> bool:
        """Whether one is needed."""
        return bool(self._known)

    def which(self, authorization: str) -> int | None:
        """The place of the key in a header "Bearer KEY"; None: none of them.

        Takes as long whether the first byte is wrong or the last, or the key is another one.
        """
        kind, _, key = authorization.partition(" ")
        given, found = _digest(key.strip()), None
        for place, known in enumerate(self._known):
            if hmac.compare_digest(given, known):
                found = place
        return found if kind.lower() == "bearer" else None


class Rate:
    """Requests of each client: `per_minute` on the long run, a tenth of that at once (token bucket)."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second, self._clock = per_minute / 60, clock
        self._most = max(1.0, per_minute / 10)
        self._left: OrderedDict[object, tuple[float, float]] = OrderedDict()
        """Of each client what was left of its share, and when."""

    def wait(self, client: object) -> float:
        """Take one of a client's requests: 0; or the seconds until it has one."""
        now = self._clock()
        left, then = self._left.pop(client, (self._most, now))
        left = min(self._most, left + (now - then) * self._per_second)
        allowed = left >= 1
        self._left[client] = (left - 1 if allowed else left, now)
        if len(self._left) > MOST_CLIENTS:
            self._left.popitem(last=False)
        return 0.0 if allowed else (1 - left) / self._per_second


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode(errors="surrogateescape")).digest()
