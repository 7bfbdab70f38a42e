"""Units that may be declared, and their factors to SI."""

from __future__ import annotations

from collections.abc import Mapping
from math import pi
from types import MappingProxyType

from semi.errors import PairsError

STANDARD_GRAVITY = 9.80665
"""m/s^2, by definition (CGPM 1901)."""

FACTORS: Mapping[str, Mapping[str, float]] = {
    "acceleration": {
        "m/s^2": 1.0,
        "m/s2": 1.0,
        "g": STANDARD_GRAVITY,
        "mg": STANDARD_GRAVITY / 1000,
    },
    "gyroscope": {"rad/s": 1.0, "deg/s": pi / 180, "dps": pi / 180, "mrad/s": 1e-3},
    "time": {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9},
}
SI = MappingProxyType({"acceleration": "m/s^2", "gyroscope": "rad/s", "time": "s"})
"""Those of sensor_msgs/Imu (REP 103)."""


def declared_units(value: object) -> dict[str, str]:
    """{"acceleration": "g", ...} as it stands in a sample, checked; "SI" stands for m/s^2, rad/s and s.

    Raises:
        PairsError: not units by quantity, or one that is not known.
    """
    if value == "SI":
        return dict(SI)
    if not isinstance(value, Mapping):
        expected = '"SI" or {"acceleration": "g", "gyroscope": "deg/s"}'
        raise PairsError("`units` does not say which unit belongs to what", got=repr(value)[:80], expected=expected)
    for quantity, unit in value.items():
        if quantity not in FACTORS:
            raise PairsError("units of an unknown quantity", got=repr(quantity), expected=", ".join(FACTORS))
        if unit not in FACTORS[quantity]:
            raise PairsError(f"unknown unit of {quantity}", got=repr(unit), expected=", ".join(FACTORS[quantity]))
    return dict(value)


def factor(quantity: str, units: Mapping[str, str]) -> float:
    """What numbers of that quantity are multiplied with to be SI.

    Raises:
        PairsError: nobody declared the unit.
    """
    if quantity not in units:
        raise PairsError(
            f"the unit of the {quantity} is not known",
            got=f"units of {', '.join(units) or 'nothing'}",
            expected=f'"units": {{"{quantity}": one of {", ".join(FACTORS[quantity])}}}',
            do="declare it in the sample, or for a whole folder in a file imu.json there",
        )
    return FACTORS[quantity][units[quantity]]
