"""What semi finds through the entry points. Imports no torch."""

from __future__ import annotations

from semi.modality import Dataset, Modality
from semi.plugins import hookimpl

from semi_plugin_satellite.dataset import LandCover, LandCoverFine
from semi_plugin_satellite.modality import Satellite


@hookimpl
def semi_modality(name: str) -> Modality | None:
    """The modality "satellite"."""
    return Satellite() if name == Satellite.name else None


@hookimpl
def semi_dataset(name: str) -> Dataset | None:
    """The data sets "land-cover" and "land-cover-fine"."""
    return next((kind() for kind in (LandCover, LandCoverFine) if kind.name == name), None)
