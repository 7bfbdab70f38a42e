"""The modality "video": a sample is a clip."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from semi.errors import InputError, PairsError
from semi.modality import Encoder, Modality
from semi_plugin_image.shared import EFFICIENTNET, require_hub

from semi_plugin_video.examples import examples
from semi_plugin_video.motion import motion
from semi_plugin_video.sources.drawing import as_html
from semi_plugin_video.sources.reading import Sample, read_sample

HUB = "microsoft/xclip-base-patch32"


class Video(Modality):
    """Clips: arrays and folders of frames, animations, films."""

    name = "video"
    instruction = "Describe this video."
    encoders = ("efficientnet-lite0", "motion", "xclip")
    assets = (EFFICIENTNET,)  # of "efficientnet-lite0" alone
    examples = examples()

    def encoder(self, name: str | None = None) -> Encoder:
        """EfficientNet-lite0 on frames (2560), statistics of colour and motion ("motion", 300), or X-CLIP from a hub.

        Args:
            name: one of `encoders`; "xclip:" with a folder or a hub id after it takes that X-CLIP.

        Raises:
            InputError: no encoder of that name, or its extra is not installed.
            AssetError: the weights of "efficientnet-lite0" have not been fetched.
            ArtifactError: a folder without a usable X-CLIP.
        """
        kind, _, source = (name or self.encoders[0]).partition(":")
        if kind == "xclip":
            require_hub("the encoder xclip", "pip install 'semi-plugin-video[hub]'")
            from semi_plugin_video.xclip import load_xclip

            return load_xclip(source or HUB)
        if kind not in self.encoders or source:
            expected = f"{', '.join(self.encoders)}, xclip:FOLDER or xclip:HUB_ID"
            raise InputError("the modality video has no such encoder", got=name, expected=expected)
        if kind == "motion":
            return motion()
        from semi_plugin_video.network import FrameNetwork

        return FrameNetwork()

    def parse(self, sample: Any, *, folder: Path | None = None) -> Sample:
        """A Path for a file that is a clip as a whole; {"file": Path, "start": s, "duration": s} for a part of a film;
        {"frames": uint8 (t, h, w, 3) or Paths, "fps": frames per second} for frames.

        A file is opened and its first frame decoded to be sure of it.

        Raises:
            PairsError: not a clip; it says what is missing or wrong.
            InputError: a film, and PyAV is not installed.
        """
        return read_sample(sample, folder)

    def draw(self, sample: Any) -> str | None:
        """Twelve frames as a small animation; None for what is not a sample."""
        try:
            return as_html(read_sample(sample))
        except PairsError:
            return None
