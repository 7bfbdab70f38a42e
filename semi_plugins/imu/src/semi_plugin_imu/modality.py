"""The modality "imu": a sample is a window of accelerometer and gyroscope."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from semi.errors import InputError, PairsError
from semi.modality import Encoder, Modality

from semi_plugin_imu.assets import RIANN
from semi_plugin_imu.drawing import as_svg
from semi_plugin_imu.examples import examples
from semi_plugin_imu.recording import SECONDS, Window
from semi_plugin_imu.sources.bags import bag_samples
from semi_plugin_imu.sources.reading import read_sample
from semi_plugin_imu.sources.table import Declared, named, recording
from semi_plugin_imu.statistics import Statistics
from semi_plugin_imu.units import SI

CHANNELS = (3, 6)
"""Of a stream: acceleration alone, or acceleration and angular velocity."""


class Imu(Modality):
    """Inertial measurements, in arrays, tables, recordings of ROS and LeRobot data sets."""

    name = "imu"
    instruction = "Describe this movement."
    encoders = ("riann", "statistics", "patchtst")
    assets = (RIANN,)  # of "riann" alone
    examples = examples()
    window_s = SECONDS

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

    def window(self, values: np.ndarray, rate_hz: float) -> Window:
        """The sample that `parse` gives of {"data": values, "rate": rate_hz, "units": "SI"}.

        Args:
            values: (n, 6), acceleration in m/s^2 and angular velocity in rad/s, or (n, 3), acceleration alone.

        Raises:
            PairsError: another number of channels, or no window that a sensor can have measured.
        """
        if values.ndim != 2 or values.shape[1] not in CHANNELS:
            expected = "(n, 6): ax, ay, az, gx, gy, gz, or (n, 3): ax, ay, az"
            raise PairsError("a stream of imu has other channels", got=f"shape {values.shape}", expected=expected)
        declared = Declared(rate=rate_hz, units=SI)
        return recording(named(values, declared), declared).as_sample()

    def samples(self, path: Path, topic: str | None = None) -> Iterator[tuple[int, np.ndarray]]:
        """The Imu messages of a recording of ROS, in SI units: (6,), or (3,) without a gyroscope.

        Raises:
            InputError: the extra `ros` is missing.
            PairsError: not a recording of ROS, no such topic, or no acceleration.
        """
        return bag_samples(Path(path), topic)

    def draw(self, sample: Any) -> str | None:
        """The six axes over time, as SVG; None for what is not a sample."""
        try:
            return as_svg(read_sample(sample))
        except PairsError:
            return None
