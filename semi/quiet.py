"""transformers without progress bars, where semi is a guest in somebody's process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Lock
from typing import Any, cast

_quiet: ContextVar[bool] = ContextVar("semi_quiet", default=False)
_lock = Lock()
_users = 0
"""How many threads are inside `no_bars`."""
_earlier: Callable[..., Any] | None = None
"""The hook that stood there before the first of them."""


@contextmanager
def no_bars() -> Iterator[None]:
    """Inside, transformers shows this thread no progress bar, and starts no thread that watches over bars.

    Bars of other threads are as they were. What transformers calls a tqdm hook stands in between for as long as a
    thread is inside and is taken away again: its switches and environment variables are for the whole process. It came
    with transformers 5.4; before that, bars are shown.
    """
    from transformers.utils import logging

    set_hook = getattr(logging, "set_tqdm_hook", None)
    if set_hook is None:
        yield
        return
    _enter(set_hook)
    token = _quiet.set(True)
    try:
        yield
    finally:
        _quiet.reset(token)
        _leave(set_hook)


def _enter(set_hook: Callable[..., Any]) -> None:
    global _users, _earlier
    with _lock:
        if not _users:
            _earlier = set_hook(_bar)
        _users += 1


def _leave(set_hook: Callable[..., Any]) -> None:
    global _users, _earlier
    with _lock:
        _users -= 1
        if not _users:
            found = set_hook(_earlier)
            if found is not _bar:  # somebody else's, who came in the meantime
                set_hook(found)
            _earlier = None


def _bar(factory: Callable[..., Any], args: tuple[Any, ...], options: dict[str, Any]) -> Any:
    from transformers.utils import logging

    earlier, empty = _earlier, cast(Any, logging.EmptyTqdm)  # whose methods have no types
    if _quiet.get():
        return empty(*args, **options)
    return factory(*args, **options) if earlier is None else earlier(factory, args, options)
