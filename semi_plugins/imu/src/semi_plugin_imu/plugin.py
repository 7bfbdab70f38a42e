"""What semi finds through the entry points. Imports no torch."""

from __future__ import annotations

from semi.modality import Dataset, Modality
from semi.plugins import hookimpl

from semi_plugin_imu.exercises import Exercises
from semi_plugin_imu.modality import Imu
from semi_plugin_imu.motions import BasicMotions


@hookimpl
def semi_modality(name: str) -> Modality | None:
    """The modality "imu"."""
    return Imu() if name == Imu.name else None


@hookimpl
def semi_dataset(name: str) -> Dataset | None:
    """The data sets "imu" and "basic-motions"."""
    return (
        {Exercises.name: Exercises, BasicMotions.name: BasicMotions}[name]()
        if name
        in (
            Exercises.name,
            BasicMotions.name,
        )
        else None
    )
