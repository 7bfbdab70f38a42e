"""The encoder "remoteclip": CLIP's vision tower (RemoteCLIP: Liu et al., IEEE TGRS 62, 5622216 (2024)), extra `hub`."""

from __future__ import annotations

from semi.modality import Encoder
from semi_plugin_image.shared import clip

from semi_plugin_satellite.pictures import open_squared

HUB, FILE = "chendelong/RemoteCLIP", "RemoteCLIP-ViT-B-32.pt"


def load_clip(source: str | None) -> Encoder:
    """CLIP's image embedding of satellite pictures, (n, projection width), float32.

    Args:
        source: a folder or hub id in the layout of transformers, or a .pt file of OpenCLIP, as RemoteCLIP is published;
            None: RemoteCLIP ViT-B-32 from the hub.

    Raises:
        InputError: the extra is not installed, or the hub has no such model or cannot be reached.
        ArtifactError: the folder lacks a file, or its tensors are not those of CLIP.
    """
    return clip(
        source or HUB,
        "satellite/clip",
        open_squared,
        file=None if source else FILE,
        do="give a folder or a .pt file: --encoder remoteclip:PATH",
        extra="pip install 'semi-plugin-satellite[hub]'",
    )
