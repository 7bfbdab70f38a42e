"""What waits for a thread that works on several things at once."""

from __future__ import annotations

from collections import deque
from threading import Condition
from typing import Generic, TypeVar

T = TypeVar("T")


class Batches(Generic[T]):
    """A queue that is taken from as many at a time as are there, up to `most`."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._work = Condition()
        self._waiting: deque[T] = deque()
        self._closed = False

    def put(self, item: T) -> bool:
        """False: closed, nobody will take it."""
        with self._work:
            if not self._closed:
                self._waiting.append(item)
                self._work.notify()
            return not self._closed

    def take(self) -> list[T]:
        """The oldest of those that wait, at least one; none: closed."""
        with self._work:
            while not self._waiting and not self._closed:
                self._work.wait()
            return [self._waiting.popleft() for _ in range(min(self._most, len(self._waiting)))]

    def close(self) -> list[T]:
        """Take what waits; nothing else is given out."""
        with self._work:
            self._closed = True
            left = list(self._waiting)
            self._waiting.clear()
            self._work.notify_all()
        return left
