"""What every source of measurements comes down to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from semi.errors import InputError, PairsError

from semi_plugin_imu.sampling import at_rate

MEASURED = "acceleration in m/s^2 and angular velocity in rad/s"
"""What numbers are once their units are known."""
SECONDS = (0.5, 60.0)
"""Shortest and longest window that can be one sample."""
RATES = (5.0, 10_000.0)
"""Hz; slower says nothing about motion."""
LIMITS = {"acceleration": 2000.0, "gyroscope": 100.0}
"""m/s^2 and rad/s: beyond the range of inertial sensors (100 g; 4000 deg/s is 70 rad/s), so the unit is wrong."""


class Window(dict[str, Any]):
    """A sample as semi keeps it: {"rate": Hz, "units": ..., "acceleration": (T, 3), "gyroscope": (T, 3)}.

    A dictionary that shows as where it came from, because messages and reports show samples.
    """

    source: str = ""
    """For people only; no part of the content, so a recording that moves keeps its hash."""

    def __repr__(self) -> str:
        quantities = [name for name in LIMITS if name in self]
        said = f"{len(self[quantities[0]]) / self['rate']:.3g} s of {' and '.join(quantities)} at {self['rate']:g} Hz"
        return f"{self.source}: {said}" if self.source else said


@dataclass(frozen=True)
class Recording:
    """A window of measurements at an even rate."""

    rate: float
    """Hz."""
    acceleration: np.ndarray | None
    """(T, 3), m/s^2, float32, with gravity unless the source took it out; None: absent."""
    gyroscope: np.ndarray | None
    """(T, 3), rad/s, float32; None: absent."""
    source: str = ""
    """Where it came from, for people."""

    @property
    def present(self) -> dict[str, np.ndarray]:
        """The quantities that were measured, by name."""
        both = {"acceleration": self.acceleration, "gyroscope": self.gyroscope}
        return {name: values for name, values in both.items() if values is not None}

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return len(next(iter(self.present.values()))) / self.rate

    def checked(self) -> Recording:
        """Itself.

        Raises:
            PairsError: nothing measured, numbers that are not finite or out of any sensor's range, or a rate or length
                out of bounds.
        """
        if not self.present:
            raise PairsError("neither acceleration nor angular velocity", expected="at least one of them")
        if not RATES[0] <= self.rate <= RATES[1]:
            raise PairsError(
                "the sampling rate is out of bounds",
                got=f"{self.rate:g} Hz",
                expected=f"{RATES[0]:g} to {RATES[1]:g} Hz",
                do='is the time in another unit? declare it: "units": {"time": "ms"}',
            )
        for name, values in self.present.items():
            if not np.isfinite(values).all():
                row = int(np.argmin(np.isfinite(values).all(1)))
                raise PairsError(f"the {name} holds NaN or infinity", got=f"row {row + 1}", expected="finite numbers")
            if (largest := float(np.abs(values).max())) > LIMITS[name]:
                raise PairsError(
                    f"no sensor measures such {name}",
                    got=f"{largest:.4g} in SI units",
                    expected=f"at most {LIMITS[name]:g}",
                    do="check the declared unit",
                )
        if not SECONDS[0] <= self.seconds <= SECONDS[1]:
            raise PairsError(
                "a sample is too short" if self.seconds < SECONDS[0] else "a sample is too long",
                got=f"{self.seconds:.3g} s at {self.rate:g} Hz",
                expected=f"{SECONDS[0]:g} to {SECONDS[1]:g} s",
                do='choose a window: "start": seconds, "duration": seconds',
            )
        return self

    def at(self, rate: float) -> Recording:
        """The same window at another rate."""
        resampled = {name: at_rate(values, self.rate, rate) for name, values in self.present.items()}
        return Recording(rate, resampled.get("acceleration"), resampled.get("gyroscope"), self.source)

    def both(self, encoder: str) -> np.ndarray:
        """Acceleration and angular velocity, (T, 6).

        Raises:
            InputError: one of them is absent.
        """
        if self.acceleration is None or self.gyroscope is None:
            raise InputError(
                f"the encoder {encoder} needs acceleration and angular velocity",
                got=f"{' and '.join(self.present)} only",
                do="use the encoder statistics, which makes do with one of them",
            )
        return np.concatenate((self.acceleration, self.gyroscope), axis=1)

    def as_sample(self) -> Window:
        """The form in which semi keeps it: arrays, their rate and their units."""
        units = {"acceleration": "m/s^2", "gyroscope": "rad/s"}
        window = Window(rate=self.rate, units={name: units[name] for name in self.present}, **self.present)
        window.source = self.source
        return window
