"""The modality "astro": a sample is the path of a photograph of the sky."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from semi.errors import InputError, PairsError
from semi.modality import Encoder, Modality
from semi_plugin_image.shared import EFFICIENTNET, efficientnet_lite0, thumbnail

from semi_plugin_astro.morphology import Morphology
from semi_plugin_astro.photographs import open_photograph, open_squared

HUB = "mwalmsley/zoobot-encoder-convnext_nano"


class Astro(Modality):
    """Photographs in picture files or FITS."""

    name = "astro"
    instruction = "Describe this astronomical object."
    encoders = ("efficientnet-lite0", "morphology", "zoobot")
    assets = (EFFICIENTNET,)  # of "efficientnet-lite0" alone

    def encoder(self, name: str | None = None) -> Encoder:
        """EfficientNet-lite0 (1280), shape and colour statistics ("morphology", 96), or a ConvNeXt from a hub.

        Args:
            name: one of `encoders`; "zoobot:" with a folder or a hub id after it takes that ConvNeXt.

        Raises:
            InputError: no encoder of that name, or its extra is not installed.
            AssetError: the weights of "efficientnet-lite0" have not been fetched.
            ArtifactError: a folder without a usable ConvNeXt.
        """
        kind, _, source = (name or self.encoders[0]).partition(":")
        if kind == "zoobot":
            from semi_plugin_astro.convnext import load_convnext

            return load_convnext(source or HUB)
        if kind not in self.encoders or source:
            expected = f"{', '.join(self.encoders)}, zoobot:FOLDER or zoobot:HUB_ID"
            raise InputError("the modality astro has no such encoder", got=name, expected=expected)
        if kind == "morphology":
            return Morphology()
        return efficientnet_lite0("astro/efficientnet-lite0@1", open_squared)

    def parse(self, sample: Any, *, folder: Path | None = None) -> Path:
        """The absolute path of a photograph, given absolutely or relative to `folder`; it is read to be sure of it.

        Raises:
            PairsError: not a path, no such file, or neither a picture nor FITS.
            InputError: FITS, and astropy is not installed.
        """
        if not isinstance(sample, str | Path) or not str(sample).strip():
            expected = "the path of a PNG, JPEG, TIFF or FITS file"
            raise PairsError("A sample of the modality astro is not a path.", got=repr(sample)[:80], expected=expected)
        path = (folder or Path()) / sample
        open_photograph(path)
        return path.absolute()

    def draw(self, sample: Any) -> str:
        """A thumbnail."""
        return thumbnail(open_photograph(sample), Path(sample).name)
