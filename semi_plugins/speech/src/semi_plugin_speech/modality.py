"""The modality "speech", and what it has in common with other modalities of sound."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from semi.assets import as_safetensors
from semi.errors import InputError, PairsError
from semi.modality import Encoder, Modality

from semi_plugin_speech.assets import OPENWAKEWORD, RESEMBLYZER, WHISPER_PARTS
from semi_plugin_speech.drawing import as_svg
from semi_plugin_speech.examples import examples
from semi_plugin_speech.reading import read_sample
from semi_plugin_speech.sound import Clip

WHISPER_BASE = ("whisper-base", "whisper-base-quick", "whisper-base-parts")
PARTS = 8


class SoundModality(Modality):
    """Whatever is heard. A modality of sound is a subclass with a name, an instruction and its encoders."""

    def parse(self, sample: Any, *, folder: Path | None = None) -> Path | Clip:
        """The absolute path of a sound file, or {"rate": Hz, "data": (T,)} of numbers or of a part of a file.

        Raises:
            PairsError: not a sample, or its rate is not known.
        """
        sound = read_sample(sample, folder, declarations=f"{self.name}.json")
        if isinstance(sample, str | Path) and not str(sample).lstrip().startswith("{"):
            return ((folder or Path()) / sample).absolute()
        return sound.as_sample()

    def draw(self, sample: Any) -> str | None:
        """How loud it is over time, as SVG; None for what is not a sample."""
        try:
            return as_svg(read_sample(sample))
        except PairsError:
            return None

    def whisper(self, name: str, source: str = "") -> Encoder:
        """Whisper-base by one of the names in `WHISPER_BASE`, or ("whisper") a model of the hub or in a folder.

        Raises:
            AssetError: the weights have not been fetched.
            InputError: the model cannot be loaded.
        """
        from semi_plugin_speech.whisper import HUB, Whisper, base_encoder, hub_encoder

        if name == "whisper":
            model, digest = hub_encoder(source or HUB)
            return Whisper(model, f"{self.name}/whisper-{digest}")
        from semi_plugin_speech.ctranslate2_file import encoder_as_safetensors

        weights = encoder_as_safetensors([asset.path(file) for asset, file in WHISPER_PARTS])
        parts, quick = (PARTS if name.endswith("parts") else None), name != WHISPER_BASE[0]
        return Whisper(base_encoder(weights), f"{self.name}/whisper-base", parts=parts, quick=quick)


class Speech(SoundModality):
    """People speaking, in sound files or arrays."""

    name = "speech"
    instruction = "Describe this speech."
    encoders = (*WHISPER_BASE, "resemblyzer", "openwakeword", "whisper", "wavlm")
    assets = (*(asset for asset, _ in WHISPER_PARTS), RESEMBLYZER, OPENWAKEWORD)
    examples = examples()

    def encoder(self, name: str | None = None) -> Encoder:
        """Whisper-base (the default), a speaker encoder, a wake-word network, or a model of the hub.

        "whisper:SOURCE" and "wavlm:SOURCE" take another model, by its id on the hub or its folder.

        Raises:
            InputError: another name, or a model that cannot be loaded.
            AssetError: the weights have not been fetched.
        """
        kind, _, source = (name or self.encoders[0]).partition(":")
        if kind not in self.encoders or (source and kind not in ("whisper", "wavlm")):
            expected = ", ".join((*self.encoders, "whisper:FOLDER", "wavlm:FOLDER"))
            raise InputError(f"the modality speech has no encoder {name!r}", got=name, expected=expected)
        if kind == "resemblyzer":
            from semi_plugin_speech.resemblyzer import Resemblyzer

            return Resemblyzer(as_safetensors(RESEMBLYZER.path("resemblyzer/pretrained.pt"), entry="model_state"))
        if kind == "openwakeword":
            from semi_plugin_speech.openwakeword import OpenWakeWord

            folder = OPENWAKEWORD.path("openwakeword/resources/models")
            return OpenWakeWord(folder / "melspectrogram.onnx", folder / "embedding_model.onnx")
        if kind == "wavlm":
            from semi_plugin_speech.wav2vec import HUB, Wav2Vec

            return Wav2Vec(source or HUB)
        return self.whisper(kind, source)
