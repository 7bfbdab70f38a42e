"""What semi finds through the entry points. Imports no torch."""

from __future__ import annotations

from semi.modality import Dataset, Modality
from semi.plugins import hookimpl

from semi_plugin_image.emoji import Emoji
from semi_plugin_image.modality import ImageModality
from semi_plugin_image.tuxpaint import TuxPaint


@hookimpl
def semi_modality(name: str) -> Modality | None:
    """The modality "image"."""
    return ImageModality() if name == ImageModality.name else None


@hookimpl
def semi_dataset(name: str) -> Dataset | None:
    """The data sets "emoji" and "tuxpaint"."""
    return {Emoji.name: Emoji, TuxPaint.name: TuxPaint}[name]() if name in (Emoji.name, TuxPaint.name) else None
