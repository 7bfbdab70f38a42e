"""What semi finds through the entry points. Imports no torch."""

from __future__ import annotations

from semi.modality import Dataset, Modality
from semi.plugins import hookimpl

from semi_plugin_audio.effects import SoundEffects
from semi_plugin_audio.instruments import Instruments
from semi_plugin_audio.modality import Audio

DATASETS: tuple[type[Dataset], ...] = (Instruments, SoundEffects)


@hookimpl
def semi_modality(name: str) -> Modality | None:
    """The modality "audio"."""
    return Audio() if name == Audio.name else None


@hookimpl
def semi_dataset(name: str) -> Dataset | None:
    """The data sets "instruments" and "sound-effects"."""
    return next((dataset() for dataset in DATASETS if dataset.name == name), None)
