"""What semi expects of every modality and encoder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from semi.testing import ModalityConformance
from semi_plugin_speech.assets import WHISPER_PARTS

from semi_plugin_audio.modality import Audio

EXAMPLE = Audio.examples[0]


class TestStatistics(ModalityConformance):
    modality = Audio()
    encoder = "statistics"
    samples = Audio.examples
    refused = ({"data": EXAMPLE["data"]}, {"data": np.zeros(100), "rate": 8000}, "gone.wav")


class TestClap(ModalityConformance):
    modality = Audio()
    samples = Audio.examples

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _a_model_in_a_folder(cls, clap_folder: Path) -> None:
        cls.encoder = f"clap:{clap_folder}"


@pytest.mark.assets
@pytest.mark.skipif(not all(asset.present() for asset, _ in WHISPER_PARTS), reason="run: semi fetch audio")
class TestWhisperBaseQuick(ModalityConformance):
    modality = Audio()
    encoder = "whisper-base-quick"
    samples = Audio.examples
