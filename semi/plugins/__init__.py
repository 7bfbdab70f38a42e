"""Plugins: pip packages that bring modalities, data sets and foundations. Imports no plugin and no torch."""

from semi.plugins.hookspecs import FoundationSource, hookimpl, hookspec
from semi.plugins.listing import PluginInfo, list_plugins
from semi.plugins.loading import load_dataset, load_foundation, load_modality

__all__ = [
    "FoundationSource",
    "PluginInfo",
    "hookimpl",
    "hookspec",
    "list_plugins",
    "load_dataset",
    "load_foundation",
    "load_modality",
]
