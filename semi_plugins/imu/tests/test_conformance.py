"""What semi expects of every modality and encoder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from semi.testing import ModalityConformance

from semi_plugin_imu.assets import RIANN
from semi_plugin_imu.modality import Imu

EXAMPLE = Imu.examples[0]
REFUSED = (
    {"data": EXAMPLE["data"], "units": "SI"},
    {"data": EXAMPLE["data"], "rate": 50},
    {**EXAMPLE, "units": {"acceleration": "furlong", "gyroscope": "rad/s"}},
    {**EXAMPLE, "data": np.full((100, 6), 1e6)},
    "gone.csv",
)


class TestStatistics(ModalityConformance):
    modality = Imu()
    encoder = "statistics"
    samples = Imu.examples
    refused = REFUSED


@pytest.mark.assets
@pytest.mark.skipif(not RIANN.present(), reason="run: semi fetch riann")
class TestRiann(ModalityConformance):
    modality = Imu()
    samples = Imu.examples


class TestPatchTST(ModalityConformance):
    modality = Imu()
    samples = Imu.examples

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _a_model_in_a_folder(cls, patchtst: Path) -> None:
        cls.encoder = f"patchtst:{patchtst}"
