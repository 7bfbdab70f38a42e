"""The modality "satellite": a sample is the path of a picture from above."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from semi.errors import InputError, PairsError
from semi.modality import Encoder, Modality
from semi_plugin_image.shared import EFFICIENTNET, efficientnet_lite0, thumbnail

from semi_plugin_satellite.pictures import open_scene, open_squared
from semi_plugin_satellite.texture import Texture


class Satellite(Modality):
    """Satellite and aerial pictures in picture files or GeoTIFF."""

    name = "satellite"
    instruction = "Describe this satellite image."
    encoders = ("efficientnet-lite0", "texture", "remoteclip")
    assets = (EFFICIENTNET,)  # of "efficientnet-lite0" alone

    def encoder(self, name: str | None = None) -> Encoder:
        """EfficientNet-lite0 (1280), colour and texture statistics ("texture", 217), or RemoteCLIP from a hub.

        Args:
            name: one of `encoders`; "remoteclip:" with a folder, a .pt file or a hub id after it takes that network.

        Raises:
            InputError: no encoder of that name, or its extra is not installed.
            AssetError: the weights of "efficientnet-lite0" have not been fetched.
            ArtifactError: a folder or file without a usable vision tower of CLIP.
        """
        kind, _, source = (name or self.encoders[0]).partition(":")
        if kind == "remoteclip":
            from semi_plugin_satellite.remoteclip import load_clip

            return load_clip(source or None)
        if kind not in self.encoders or source:
            expected = f"{', '.join(self.encoders)}, remoteclip:FOLDER, remoteclip:FILE.pt or remoteclip:HUB_ID"
            raise InputError("the modality satellite has no such encoder", got=name, expected=expected)
        if kind == "texture":
            return Texture()
        return efficientnet_lite0("satellite/efficientnet-lite0@1", open_squared)

    def parse(self, sample: Any, *, folder: Path | None = None) -> Path:
        """The absolute path of a picture, given absolutely or relative to `folder`; it is read to be sure of it.

        Raises:
            PairsError: not a path, no such file, or neither a picture nor a GeoTIFF whose colours are known.
            InputError: a GeoTIFF that needs rasterio, which is not installed.
        """
        if not isinstance(sample, str | Path) or not str(sample).strip():
            what = "A sample of the modality satellite is not a path."
            raise PairsError(what, got=repr(sample)[:80], expected="the path of a PNG, JPEG or GeoTIFF file")
        path = (folder or Path()) / sample
        open_scene(path)
        return path.absolute()

    def draw(self, sample: Any) -> str:
        """A thumbnail."""
        return thumbnail(open_scene(sample), Path(sample).name)
