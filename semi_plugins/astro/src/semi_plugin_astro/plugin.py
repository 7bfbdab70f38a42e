"""What semi finds through the entry points. Imports no torch."""

from __future__ import annotations

from semi.modality import Dataset, Modality
from semi.plugins import hookimpl

from semi_plugin_astro.dataset import DeepSky
from semi_plugin_astro.modality import Astro


@hookimpl
def semi_modality(name: str) -> Modality | None:
    """The modality "astro"."""
    return Astro() if name == Astro.name else None


@hookimpl
def semi_dataset(name: str) -> Dataset | None:
    """The data set "deep-sky"."""
    return DeepSky() if name == DeepSky.name else None
