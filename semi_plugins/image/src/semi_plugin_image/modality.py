"""The modality "image": a sample is the path of a picture file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from semi.errors import InputError, PairsError
from semi.modality import Encoder, Modality

from semi_plugin_image.assets import EFFICIENTNET
from semi_plugin_image.layout import layout
from semi_plugin_image.pictures import DO, open_picture, open_squared, thumbnail
from semi_plugin_image.shared import clip, efficientnet_lite0

HUB = "openai/clip-vit-base-patch32"


class ImageModality(Modality):
    """Pictures in files."""

    name = "image"
    instruction = "Describe this picture."
    encoders = ("efficientnet-lite0", "efficientnet-lite0-grid", "layout", "clip")
    assets = (EFFICIENTNET,)  # of "efficientnet-lite0" and its grid

    def encoder(self, name: str | None = None) -> Encoder:
        """EfficientNet-lite0 (1280, or 49 x 1280 on its "-grid"), statistics ("layout", 448), or CLIP from a hub.

        Args:
            name: one of `encoders`; "clip:" with a folder, a .pt file of OpenCLIP or a hub id after it takes that CLIP.

        Raises:
            InputError: no encoder of that name, or its extra is not installed.
            AssetError: the weights of "efficientnet-lite0" have not been fetched.
            ArtifactError: a folder or file without a usable vision tower of CLIP.
        """
        kind, _, source = (name or self.encoders[0]).partition(":")
        if kind == "clip":
            do = "give a folder or a .pt file: --encoder clip:PATH"
            extra = "pip install 'semi-plugin-image[hub]'"
            return clip(source or HUB, "image/clip", open_squared, do=do, extra=extra)
        if kind not in self.encoders or source:
            expected = f"{', '.join(self.encoders)}, clip:FOLDER, clip:FILE.pt or clip:HUB_ID"
            raise InputError("The modality image has no such encoder.", got=name, expected=expected)
        if kind == "layout":
            return layout()
        return efficientnet_lite0(f"image/{kind}@1", open_squared, grid=kind == "efficientnet-lite0-grid")

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
        return thumbnail(open_picture(sample), Path(sample).name)
