"""What semi expects of every modality and encoder."""

from __future__ import annotations

import pytest
from semi_plugin_molecules.assets import ADMET_AI
from semi_plugin_molecules.modality import Molecules

from semi.testing import ModalityConformance


class TestMorgan(ModalityConformance):
    modality = Molecules()
    samples = Molecules.examples
    refused = ("", "C1CC", "C(C)(C)(C)(C)C", "InChI=1S/none", "gone.sdf", None, 3)


@pytest.mark.assets
@pytest.mark.skipif(not ADMET_AI.present(), reason="run: semi fetch admet-ai")
class TestDMPNN(ModalityConformance):
    modality = Molecules()
    encoder = "dmpnn"
    samples = Molecules.examples
