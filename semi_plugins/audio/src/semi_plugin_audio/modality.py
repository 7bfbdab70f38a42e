"""The modality "audio": a sample is a sound of any kind."""

from __future__ import annotations

from semi.errors import InputError
from semi.modality import Encoder
from semi_plugin_speech.assets import WHISPER_PARTS
from semi_plugin_speech.modality import WHISPER_BASE, SoundModality

from semi_plugin_audio.examples import examples
from semi_plugin_audio.statistics import Statistics


class Audio(SoundModality):
    """Sounds in files or arrays, which are those of the modality speech."""

    name = "audio"
    instruction = "Describe this sound."
    encoders = (*WHISPER_BASE, "statistics", "clap", "whisper")
    assets = tuple(asset for asset, _ in WHISPER_PARTS)
    examples = examples()

    def encoder(self, name: str | None = None) -> Encoder:
        """Whisper-base (the default), plain numbers ("statistics", 217), or a model of the hub.

        "clap:SOURCE" and "whisper:SOURCE" take another model, by its id on the hub or its folder.

        Raises:
            InputError: another name, or a model that cannot be loaded.
            AssetError: the weights of Whisper-base have not been fetched.
        """
        kind, _, source = (name or self.encoders[0]).partition(":")
        if kind not in self.encoders or (source and kind not in ("clap", "whisper")):
            expected = ", ".join((*self.encoders, "clap:FOLDER", "whisper:FOLDER"))
            raise InputError(f"the modality audio has no encoder {name!r}", got=name, expected=expected)
        if kind == "statistics":
            return Statistics()
        if kind == "clap":
            from semi_plugin_audio.clap import HUB, Clap

            return Clap(source or HUB)
        return self.whisper(kind, source)
