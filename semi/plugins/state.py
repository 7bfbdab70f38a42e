"""What is installed and what came of using it: metadata, and the outcome of every load in this process."""

from __future__ import annotations

from dataclasses import replace

from semi.errors import SemiError
from semi.plugins.listing import PluginInfo, list_offers

_outcomes: dict[PluginInfo, PluginInfo] = {}


def list_plugins() -> list[PluginInfo]:
    """Everything on offer, the built-in modality `vectors` included, sorted by kind and name; imports none of it."""
    return [_outcomes.get(offer, offer) for offer in list_offers()]


def record(offer: PluginInfo, error: SemiError | None = None) -> PluginInfo:
    """Keep and return an offer as it is after it was loaded, or failed to."""
    if error is None:
        _outcomes[offer] = replace(offer, state="loaded")
    else:
        _outcomes[offer] = replace(offer, state="failed", cause=one_line(error), fix=error.do)
    return _outcomes[offer]


def one_line(error: SemiError) -> str:
    """What is wrong and what was found, in one line."""
    cause = error.what if error.got is None else f"{error.what}: {error.got}"
    return " ".join(cause.split())
