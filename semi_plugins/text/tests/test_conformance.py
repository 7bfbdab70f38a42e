"""What semi expects of every modality and encoder."""

from __future__ import annotations

from pathlib import Path

import pytest
from semi.testing import ModalityConformance

from semi_plugin_text.assets import MINILM
from semi_plugin_text.modality import TextModality

REFUSED = ("", "  \n", None, 3, ["a"])


class TestNGrams(ModalityConformance):
    modality = TextModality()
    encoder = "ngrams"
    samples = TextModality.examples
    refused = REFUSED


@pytest.mark.assets
@pytest.mark.skipif(not MINILM.present(), reason="run: semi fetch minilm-l6-v2")
class TestMiniLM(ModalityConformance):
    modality = TextModality()
    samples = TextModality.examples


class TestSentence(ModalityConformance):
    modality = TextModality()
    samples = TextModality.examples

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _a_model_in_a_folder(cls, bert: Path) -> None:
        cls.encoder = f"sentence:{bert}"
