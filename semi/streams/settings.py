"""How a stream cuts its windows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise, repeat
from math import ceil, isfinite
from typing import Literal, get_args

import numpy as np

from semi.errors import InputError

Policy = Literal["drop", "sort", "raise"]
POLICIES: tuple[Policy, ...] = get_args(Policy)
SECOND = 1_000_000_000
"""ns."""
SLACK_S = 1.0
"""How long the newest window can wait to be taken before its samples are overwritten."""
SOURCE_HZ = 1000.0
"""The ring has room for a source as fast as this, or four times as fast as the windows."""


@dataclass(frozen=True)
class StreamSettings:
    """How a stream cuts its windows.

    Attributes:
        rate_hz: samples a second in a window, whatever the source's rate is.
        window_s: length of a window; it has round(window_s * rate_hz) samples, at least 2.
        hop_s: from the start of one window to the start of the next.
        channels: numbers a sample; None: as many as the first one has.
        tolerance_s: longest time between neighbouring samples that is interpolated; None: 5 / rate_hz.
        out_of_order: a sample that is older than the newest one is dropped and counted ("drop"), sorted in if it is not
            older by more than `lateness_s` ("sort"), or dropped, counted and told by an error ("raise").
        lateness_s: with "sort", how long windows wait for late samples, by the stamps.
        restart_s: after late samples whose own stamps go on for so long, with none on time among them, the clock of
            the source has jumped back, and windows begin anew.
        quaternions: first channel of each unit quaternion (four channels, scalar first or last).
        limits: for each channel, or one for all: a sample with |x| at or above it counts as saturated.
        capacity: samples kept; None: enough for the window, the lateness and 1 s at 1000 Hz or 4 rate_hz.

    Raises:
        InputError: on construction, where one of them is out of range.
    """

    rate_hz: float
    window_s: float
    hop_s: float
    channels: int | None = None
    tolerance_s: float | None = None
    out_of_order: Policy = "drop"
    lateness_s: float = 0.05
    restart_s: float = 0.5
    quaternions: tuple[int, ...] = ()
    limits: float | tuple[float, ...] | None = None
    capacity: int | None = None

    def __post_init__(self) -> None:
        for name in ("rate_hz", "window_s", "hop_s", "tolerance_s", "lateness_s", "restart_s"):
            value = getattr(self, name)
            # 1e6: stamps of a window are exact in float64, and a week is no window
            if value is not None and not (
                isinstance(value, int | float | np.number) and isfinite(value) and 0 < value <= 1e6
            ):
                raise InputError(f"{name} is out of range", got=repr(value), expected="above 0, at most 1e6")
        if round(self.window_s * self.rate_hz) < 2:
            raise InputError(
                "a window has fewer than 2 samples", got=f"{self.window_s:g} s at {self.rate_hz:g} Hz", do="longer"
            )
        if self.hop_ns < 1:
            raise InputError("hop_s is out of range", got=self.hop_s, expected="at least 1e-9")
        if self.out_of_order not in POLICIES:
            raise InputError("unknown policy out_of_order", got=self.out_of_order, expected=", ".join(POLICIES))
        for name, least in (("channels", 1), ("capacity", 2)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise InputError(f"{name} is too small", got=value, expected=f"at least {least}")
        taken = sorted(self.quaternions)
        if (taken and taken[0] < 0) or any(b - a < 4 for a, b in pairwise(taken)):
            raise InputError(
                "quaternions overlap or begin before channel 0", got=taken, expected="first channels, 4 or more apart"
            )
        if self.channels is not None:
            self.check_channels(self.channels)

    def check_channels(self, channels: int) -> None:
        """Whether samples of so many numbers fit.

        Raises:
            InputError: they do not; says what they were to have.
        """
        if self.channels not in (None, channels):
            raise InputError("a sample has another number of channels", got=channels, expected=self.channels)
        if self.limits is not None and np.size(self.limits) not in (1, channels):
            expected = f"one, or {channels}: as many as a sample has channels"
            raise InputError(
                "limits and channels differ in number", got=f"{np.size(self.limits)} limits", expected=expected
            )
        if self.quaternions and max(self.quaternions) + 4 > channels:
            raise InputError(
                "a quaternion lies beyond the channels", got=max(self.quaternions), expected=f"at most {channels - 4}"
            )

    @cached_property
    def offsets(self) -> np.ndarray:
        """Stamps of a window's samples after its first (n,), int64 ns; each is rounded by itself, so none drifts."""
        n = round(self.window_s * self.rate_hz)
        offsets: np.ndarray = np.rint(np.arange(n) * (SECOND / self.rate_hz)).astype(np.int64)
        return offsets

    @cached_property
    def span_ns(self) -> int:
        """From a window's first sample to its last."""
        return int(self.offsets[-1])

    @cached_property
    def hop_ns(self) -> int:
        """From window to window."""
        return round(self.hop_s * SECOND)

    @cached_property
    def tolerance_ns(self) -> int:
        """The longest step that is interpolated."""
        return round((5 / self.rate_hz if self.tolerance_s is None else self.tolerance_s) * SECOND)

    @cached_property
    def wait_ns(self) -> int:
        """How far behind the newest stamp a sample may be."""
        return round(self.lateness_s * SECOND) if self.out_of_order == "sort" else 0

    @cached_property
    def restart_ns(self) -> int:
        """How long late samples go on before they are believed."""
        return round(self.restart_s * SECOND)

    @cached_property
    def room(self) -> int:
        """Samples that the ring keeps."""
        seconds = self.window_s + self.lateness_s + SLACK_S
        return self.capacity or ceil(seconds * max(SOURCE_HZ, 4 * self.rate_hz))

    def usable(self, samples: np.ndarray) -> np.ndarray:
        """Whether samples (..., channels) are finite and their quaternions point somewhere: (...) bool."""
        fine: np.ndarray = np.isfinite(samples).all(-1)
        for first in self.quaternions:
            fine = fine & (samples[..., first : first + 4] != 0).any(-1)
        return fine

    def is_usable(self, sample: Sequence[float]) -> bool:
        """`usable` of one sample (channels,), in plain Python: after a pause NumPy takes 60 us for a few numbers."""
        return all(map(isfinite, sample)) and all(any(sample[first : first + 4]) for first in self.quaternions)

    def is_saturated(self, sample: Sequence[float]) -> bool:
        """`saturated` of one sample (channels,), in plain Python."""
        return any(abs(number) >= limit for number, limit in zip(sample, self._bounds, strict=False))

    @cached_property
    def _bounds(self) -> Iterable[float]:
        """A limit for each channel, or one over and over; none where there are none."""
        limits = [] if self.limits is None else np.ravel(self.limits).tolist()
        return repeat(limits[0]) if len(limits) == 1 else limits

    def saturated(self, samples: np.ndarray) -> np.ndarray:
        """Whether a channel of samples (..., channels) is at its limit: (...) bool."""
        limits = np.inf if self.limits is None else self.limits
        reached: np.ndarray = (np.abs(samples) >= limits).any(-1)
        return reached
