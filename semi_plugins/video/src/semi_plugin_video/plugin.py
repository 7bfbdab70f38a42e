"""What semi finds through the entry points. Imports no torch."""

from __future__ import annotations

from semi.modality import Dataset, Modality
from semi.plugins import hookimpl

from semi_plugin_video.modality import Video
from semi_plugin_video.moving_pictures import MovingPictures
from semi_plugin_video.sprites import Sprites


@hookimpl
def semi_modality(name: str) -> Modality | None:
    """The modality "video"."""
    return Video() if name == Video.name else None


@hookimpl
def semi_dataset(name: str) -> Dataset | None:
    """The data sets "moving-pictures" and "sprites"."""
    found: dict[str, type[Dataset]] = {MovingPictures.name: MovingPictures, Sprites.name: Sprites}
    return found[name]() if name in found else None
