"""The modality "imu": a sample is a window of accelerometer and gyroscope."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from semi.errors import InputError, PairsError
from semi.modality import Encoder, Modality

from semi_plugin_imu.assets import RIANN
from semi_plugin_imu.drawing import as_svg
from semi_plugin_imu.examples import examples
from semi_plugin_imu.recording import Window
from semi_plugin_imu.sources.reading import read_sample
from semi_plugin_imu.statistics import Statistics


class Imu(Modality):
    """Inertial measurements, in arrays, tables, recordings of ROS and LeRobot data sets."""

    name = "imu"
    instruction = "Describe this movement."
    encoders = ("riann", "statistics", "patchtst")
    assets = (RIANN,)  # of "riann" alone
    examples = examples()

    def encoder(self, name: str | None = None) -> Encoder:
        """Recurrent network ("riann", the default), plain numbers ("statistics"), or a model of the hub ("patchtst").

        "patchtst:NAME" takes another model, by its id on the hub or its folder.

        Raises:
            InputError: another name, or a model that cannot be loaded.
            AssetError: the weights of "riann" have not been fetched.
        """
        kind, _, source = (name or self.encoders[0]).partition(":")
        if kind not in self.encoders or (source and kind != "patchtst"):
            expected = ", ".join((*self.encoders, "patchtst:FOLDER"))
            raise InputError(f"the modality imu has no encoder {name!r}", got=name, expected=expected)
        if kind == "statistics":
            return Statistics()
        if kind == "riann":
            from semi_plugin_imu.riann import Riann

            return Riann(RIANN.path("riann/riann.onnx"))
        from semi_plugin_imu.patchtst import DEFAULT, PatchTST

        return PatchTST(source or DEFAULT)

    def parse(self, sample: Any, *, folder: Path | None = None) -> Window:
        """The window in SI units: {"rate": Hz, "units": ..., "acceleration": (T, 3), "gyroscope": (T, 3)}.

        Numbers and not paths, also for files: so the hash of pairs covers the window alone, and not for each of a
        thousand windows the recording of some gigabytes that they are cut from.

        Raises:
            PairsError: not a sample, or its rate or units are not known.
            InputError: an extra is missing that its source needs.
        """
        return read_sample(sample, folder).as_sample()

    def draw(self, sample: Any) -> str | None:
        """The six axes over time, as SVG; None for what is not a sample."""
        try:
            return as_svg(read_sample(sample))
        except PairsError:
            return None
