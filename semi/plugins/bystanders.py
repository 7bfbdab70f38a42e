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
    """Everything of these kinds that is not blocked, and the errors of what cannot be used.

    It is loaded in another process first: a plugin that hangs or ends the process is an error, too.
    """
    from semi.plugins.check import that_end_the_process

    offers = [offer for offer in list_offers() if offer.kind in kinds and offer.state != "blocked"]
    fatal = {(p.kind, p.name): p for p in that_end_the_process([p for p in offers if p.state == "available"])}
    loaded: list[Any] = []
    broken: list[SemiError] = []
    for offer in offers:
        try:
            if plugin := fatal.get((offer.kind, offer.name)):
                title = f"{plugin.kind} {plugin.name!r} of {plugin.distribution} {plugin.version}"
                raise PluginError(f"{title}: {plugin.cause}", do=plugin.fix)
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
