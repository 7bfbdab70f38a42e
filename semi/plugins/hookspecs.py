"""The hooks a plugin may implement: one for each kind of thing that a plugin brings.

A plugin names its things in entry points (groups `semi.modalities`, `semi.datasets`, `semi.foundations`, `semi.metrics`
and `semi.commands`; the entry's name is what users type). Their target is a module or an object with the functions
below, marked with `@semi.plugins.hookimpl`; the parameters must be the ones given here, `name` among them. It may say
for which version of these hooks it was written, `api_version = 1`; saying nothing means 1. Hooks grow only by arguments
that plugins may leave out; any other change is a new version.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pluggy

from semi.modality import Dataset, Modality
from semi.plugins.metric import Metric

if TYPE_CHECKING:
    from semi.assets import Asset

hookspec = pluggy.HookspecMarker("semi")
hookimpl = pluggy.HookimplMarker("semi")

API_VERSION = 1
"""Of the hooks below; a plugin written for another one is refused after its import."""

# Every hook is asked for one name and stops at the first answer.
_first = hookspec(firstresult=True)


@dataclass(frozen=True)
class FoundationSource:
    """Where a registered foundation lies."""

    name: str
    folder: Path
    """The saved foundation: safetensors, JSON and a manifest."""
    assets: tuple[Asset, ...] = ()
    """What `semi fetch` brings before it can be loaded, its language model first."""


@_first
def semi_modality(name: str) -> Modality | None:
    """The modality called `name`, or None if this plugin has no such modality."""


@_first
def semi_dataset(name: str) -> Dataset | None:
    """The data set called `name`, or None if this plugin has no such data set."""


@_first
def semi_foundation(name: str) -> FoundationSource | None:
    """Where the foundation called `name` lies, or None if this plugin has no such foundation."""


@_first
def semi_metric(name: str) -> Metric | None:
    """The metric that `semi eval --metric name` adds to its scores, or None if this plugin has no such metric."""


@_first
def semi_command(name: str) -> Any | None:
    """The verb `semi name`: a typer app or a click command, or None if this plugin has no such verb.

    It is loaded when it is typed; `semi --help` lists it from metadata alone.
    """
