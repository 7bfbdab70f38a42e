"""Plugins: pip packages that bring modalities, data sets, foundations, metrics, verbs. Imports no plugin, no torch."""

from semi.plugins.bystanders import PluginWarning, load_all, skip
from semi.plugins.hookspecs import API_VERSION, FoundationSource, hookimpl, hookspec
from semi.plugins.listing import PluginInfo
from semi.plugins.loading import (
    load,
    load_command,
    load_dataset,
    load_foundation,
    load_metric,
    load_modality,
)
from semi.plugins.metric import Metric
from semi.plugins.state import list_plugins

__all__ = [
    "API_VERSION",
    "FoundationSource",
    "Metric",
    "PluginInfo",
    "PluginWarning",
    "hookimpl",
    "hookspec",
    "list_plugins",
    "load",
    "load_all",
    "load_command",
    "load_dataset",
    "load_foundation",
    "load_metric",
    "load_modality",
    "skip",
]
