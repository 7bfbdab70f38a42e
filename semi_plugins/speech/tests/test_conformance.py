"""What semi expects of every modality and encoder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from semi.testing import ModalityConformance

from semi_plugin_speech.assets import OPENWAKEWORD, RESEMBLYZER, WHISPER_1, WHISPER_2
from semi_plugin_speech.modality import Speech

EXAMPLE = Speech.examples[0]
REFUSED = (
    {"data": EXAMPLE["data"]},
    {"data": EXAMPLE["data"][:100], "rate": 8000},
    {"data": np.full(8000, 2000.0), "rate": 8000},
    {"data": np.zeros((8000, 9)), "rate": 8000},
    {**EXAMPLE, "language": "French"},
    "gone.wav",
)


@pytest.mark.assets
@pytest.mark.skipif(not (WHISPER_1.present() and WHISPER_2.present()), reason="run: semi fetch speech")
class TestWhisperBaseQuick(ModalityConformance):
    modality = Speech()
    encoder = "whisper-base-quick"
    samples = Speech.examples


@pytest.mark.assets
@pytest.mark.skipif(not RESEMBLYZER.present(), reason="run: semi fetch resemblyzer")
class TestResemblyzer(ModalityConformance):
    modality = Speech()
    encoder = "resemblyzer"
    samples = Speech.examples


@pytest.mark.assets
@pytest.mark.skipif(not OPENWAKEWORD.present(), reason="run: semi fetch openwakeword")
class TestOpenWakeWord(ModalityConformance):
    modality = Speech()
    encoder = "openwakeword"
    samples = Speech.examples


class TestWhisper(ModalityConformance):
    modality = Speech()
    samples = Speech.examples
    refused = REFUSED

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _a_model_in_a_folder(cls, whisper_folder: Path) -> None:
        cls.encoder = f"whisper:{whisper_folder}"


class TestHubert(ModalityConformance):
    modality = Speech()
    samples = Speech.examples

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _a_model_in_a_folder(cls, hubert_folder: Path) -> None:
        cls.encoder = f"wavlm:{hubert_folder}"
