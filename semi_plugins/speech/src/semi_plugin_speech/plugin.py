"""What semi finds through the entry points. Imports no torch."""

from __future__ import annotations

from semi.modality import Dataset, Modality
from semi.plugins import hookimpl

from semi_plugin_speech.ktuberling import KTuberling
from semi_plugin_speech.modality import Speech
from semi_plugin_speech.tuxpaint import TuxPaintSpeech

DATASETS: tuple[type[Dataset], ...] = (TuxPaintSpeech, KTuberling)


@hookimpl
def semi_modality(name: str) -> Modality | None:
    """The modality "speech"."""
    return Speech() if name == Speech.name else None


@hookimpl
def semi_dataset(name: str) -> Dataset | None:
    """The data sets "tuxpaint-speech" and "ktuberling"."""
    return next((dataset() for dataset in DATASETS if dataset.name == name), None)
