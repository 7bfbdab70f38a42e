"""Plugins that nobody asked for by name but that are in the way: one that fails is skipped."""

from __future__ import annotations

import os
import warnings
from collections.abc import Collection, Sequence
from typing import Any

from semi.errors import PluginError, SemiError
from semi.plugins.listing import Kind, list_offers
from semi.plugins.loading import load
from semi.plugins.state import one_line

STRICT = "SEMI_STRICT_PLUGINS"
"""Set to 1: a bystander that fails is an error."""


class PluginWarning(UserWarning):
    """Plugins were skipped."""


def load_all(kinds: Collection[Kind]) -> tuple[list[Any], list[SemiError]]:
    """Everything of these kinds that is not blocked, and the errors of what cannot be used."""
    loaded: list[Any] = []
    broken: list[SemiError] = []
    for offer in list_offers():
        if offer.kind not in kinds or offer.state == "blocked":
            continue
        try:
            loaded.append(load(offer.kind, offer.name))
        except SemiError as error:
            broken.append(error)
    return loaded, broken


def skip(broken: Sequence[SemiError]) -> None:
    """One warning for all bystanders that failed; with SEMI_STRICT_PLUGINS=1 the first of them is raised.

    Raises:
        PluginError: a plugin failed, and SEMI_STRICT_PLUGINS is 1.
    """
    if not broken:
        return
    if os.environ.get(STRICT) == "1":
        first = broken[0]
        got = first.got if isinstance(first, PluginError) else first
        raise PluginError(
            first.what, got=got, expected=f"no plugin that fails, because {STRICT}=1", do=first.do
        ) from first
    causes = "; ".join(dict.fromkeys(map(one_line, broken)))
    some = f"a plugin that fails: {causes}" if len(broken) == 1 else f"{len(broken)} plugins that fail: {causes}"
    warnings.warn(f"skipped {some} (`semi plugins check` says what to do)", PluginWarning, stacklevel=3)
