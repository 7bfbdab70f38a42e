"""What became of every sample and every window of a stream."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Counts:
    """Each is exact at any time: pushed = stored + late + duplicates + not_finite, and
    windows = invalid + skipped + given + (1 while the newest waits to be taken).
    """

    pushed: int = 0
    """Samples."""
    stored: int = 0
    """Of them, taken into the stream."""
    late: int = 0
    """Of them, dropped because windows with their stamps were sealed, or could have been."""
    duplicates: int = 0
    """Of them, dropped because another had the stamp; the first is kept."""
    not_finite: int = 0
    """Of them, dropped for NaN or infinity, or a quaternion of length 0."""
    saturated: int = 0
    """Stored samples with a channel at its limit."""
    overrun: int = 0
    """Stored samples that were overwritten while a window that could still be cut needed them; it became invalid."""
    gaps: int = 0
    """Times that neighbouring stored samples were further apart than the tolerance."""
    gap_ns: int = 0
    """How long these gaps were together."""
    windows: int = 0
    """Sealed: no sample that comes can change them any more."""
    invalid: int = 0
    """Of them, those that touch a gap or lost samples to an overrun."""
    skipped: int = 0
    """Of them, those that a newer one overtook before they were taken."""
    given: int = 0
    """Of them, those that were taken."""
    restarts: int = 0
    """Times that the clock of the source jumped back and windows began anew."""
