"""How long something takes, over any number of times, in bounded memory."""

from __future__ import annotations

from threading import Lock

_BITS = 4
"""Buckets in an octave: 2**4, so that a percentile is at most 6% too high."""
_LONGEST = 2**43
"""ns, 2.4 hours."""


class Latency:
    """A histogram of durations in ns; exact in its number and maximum."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._buckets = [0] * (_bucket(_LONGEST) + 1)
        self._max = 0

    def add(self, ns: int) -> None:
        """One duration, from any thread."""
        bucket = _bucket(min(ns, _LONGEST))
        with self._lock:
            self._buckets[bucket] += 1
            self._max = max(self._max, ns)

    def summary(self) -> dict[str, float]:
        """n, and p50, p99 and max in ms, these 0 where there was nothing."""
        with self._lock:
            buckets, longest = self._buckets.copy(), self._max
        n = sum(buckets)
        found = {
            name: min(_quantile(buckets, share * n), longest) / 1e6 for name, share in (("p50", 0.5), ("p99", 0.99))
        }
        return {"n": n, **found, "max": longest / 1e6}


def _bucket(ns: int) -> int:
    """Below 16 ns one each, then 16 an octave."""
    octave = max(0, ns.bit_length() - 1 - _BITS)
    return (octave << _BITS) + (ns >> octave)


def _quantile(buckets: list[int], rank: float) -> int:
    """The upper end of the bucket in which the rank lies, ns."""
    below = 0
    for bucket, count in enumerate(buckets):
        below += count
        if count and below >= rank:
            octave = max(0, (bucket >> _BITS) - 1)
            return (bucket - (octave << _BITS) + 1 << octave) - 1
    return 0
