"""Which assets a name stands for: a core asset, what a plugin calls its own, or one of a plugin's assets."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from semi.assets.asset import Asset
from semi.assets.catalog import CORE
from semi.errors import InputError, SemiError
from semi.modality import Dataset, Modality
from semi.plugins import FoundationSource, PluginInfo, list_plugins, load, load_all, skip
from semi.plugins.listing import Kind

KINDS: tuple[Kind, ...] = ("modality", "dataset", "foundation")
"""What has assets."""


def assets_named(names: Iterable[str]) -> list[Asset]:
    """The assets that the names stand for, each once. Only plugins that are asked for are loaded, if names suffice.

    Args:
        names: core assets, modalities, data sets, foundations, or single assets of plugins.

    Raises:
        InputError: a name that nothing goes by; says which there are.
        PluginError: a plugin that is asked for is broken.
    """
    found: dict[str, Asset] = {}
    for name in names:
        plugins = [plugin for plugin in list_plugins() if plugin.name == name and plugin.kind in KINDS]
        if name in CORE or plugins:
            assets = [CORE[name]] if name in CORE else []
            assets += [asset for plugin in plugins for asset in load(plugin.kind, plugin.name).assets]
        else:
            assets = [_single(name)]
        found.update((asset.name, asset) for asset in assets)
    return list(found.values())


def assets_of(plugins: Iterable[PluginInfo]) -> dict[str, Asset]:
    """The core's assets and those of plugins that work, by name."""
    needing = (plugin for plugin in plugins if plugin.kind in KINDS)
    return _by_name(load(plugin.kind, plugin.name) for plugin in needing)


def all_assets() -> tuple[dict[str, Asset], list[SemiError]]:
    """Every known asset by its name, and the errors of plugins that could not be asked."""
    loaded, broken = load_all(KINDS)
    return _by_name(loaded), broken


def _by_name(things: Iterable[Modality | Dataset | FoundationSource]) -> dict[str, Asset]:
    return CORE | {asset.name: asset for thing in things for asset in thing.assets}


def _single(name: str) -> Asset:
    """An asset of a plugin by its own name; every plugin has to be asked."""
    assets, broken = all_assets()
    skip(broken)
    if name not in assets:
        known = sorted({*assets, *(plugin.name for plugin in list_plugins() if plugin.kind in KINDS)})
        near = get_close_matches(name, known, n=1)
        raise InputError(
            f"nothing to fetch goes by the name {name!r}",
            expected=f"one of: {', '.join(known)}",
            do=f"did you mean {near[0]!r}?" if near else "`semi fetch --list` says what each is",
        )
    return assets[name]
