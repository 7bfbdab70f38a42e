"""Handlers of the page that end in a readable problem instead of a traceback."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

import gradio as gr

from semi.ui.showing import problem

Update = dict[Any, Any]
"""New values by component."""


def telling(where: gr.HTML) -> Callable[[Callable[..., Update]], Callable[..., Update]]:
    """Of a handler that returns an update: what it raises is shown in `where`, which is emptied when nothing is."""

    def decorate(handler: Callable[..., Update]) -> Callable[..., Update]:
        @wraps(handler)
        def told(*values: Any) -> Update:
            try:
                return {where: ""} | handler(*values)
            except Exception as error:
                return {where: problem(error)}

        return told

    return decorate


def telling_on(where: gr.HTML) -> Callable[[Callable[..., Iterator[Update]]], Callable[..., Iterator[Update]]]:
    """The same of a handler that yields updates while it works."""

    def decorate(handler: Callable[..., Iterator[Update]]) -> Callable[..., Iterator[Update]]:
        @wraps(handler)
        def told(*values: Any) -> Iterator[Update]:
            try:
                yield {where: ""}
                yield from handler(*values)
            except Exception as error:
                yield {where: problem(error)}

        return told

    return decorate
