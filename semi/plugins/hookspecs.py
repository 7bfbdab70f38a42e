"""The hooks a plugin may implement: one for each kind of thing that a plugin brings.

A plugin names its things in entry points (group `semi.modalities`, `semi.datasets` or `semi.foundations`; the entry's
name is what users type). Their target is a module or an object with the functions below, marked with
`@semi.plugins.hookimpl`; the parameters must be the ones given here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pluggy

from semi.modality import Dataset, Modality

if TYPE_CHECKING:
    from semi.assets import Asset

hookspec = pluggy.HookspecMarker("semi")
hookimpl = pluggy.HookimplMarker("semi")

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
