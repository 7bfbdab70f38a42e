"""A replay as a recording for the Rerun viewer (https://rerun.io); the only module that imports rerun."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from semi.errors import InputError, SessionError
from semi.streams.stream import Answer, Reading
from semi.streams.view import labelled


class RerunLog:
    """Samples as curves, readings and texts as logs, distances as a curve, all by the sensor's stamps.

    Args:
        path: an .rrd file; one that is there is replaced.
        name: the modality.

    Raises:
        InputError: the package rerun-sdk is not installed.
    """

    def __init__(self, path: Path, name: str) -> None:
        try:
            import rerun
        except ImportError as error:
            raise InputError(
                "recordings for Rerun are written by the package rerun-sdk, which is not installed",
                got=error,
                do="pip install 'semi-llm[rerun]'",
            ) from error
        self._rerun, self._name = rerun, name
        self._stream = rerun.RecordingStream(f"semi {name}")  # of its own: rerun's global one is the caller's
        self._stream.save(path)

    def sample(self, stamp_ns: int, sample: np.ndarray) -> None:
        """One curve a channel."""
        self._log(stamp_ns, "samples", self._rerun.Scalars(sample))

    def reading(self, reading: Reading) -> None:
        """At the end of the window."""
        level = "WARN" if reading.unlike_anything_seen else "INFO"
        self._log(reading.end_ns, "labels", self._rerun.TextLog(labelled(reading), level=level))
        self._log(reading.end_ns, "distance", self._rerun.Scalars([reading.nearest[0].distance]))

    def answer(self, answer: Answer) -> None:
        """At the end of the window, however late it came."""
        self._log(answer.reading.end_ns, "text", self._rerun.TextLog(answer.text))

    def failure(self, error: SessionError) -> None:
        """Nothing: it has no stamp."""

    def close(self) -> None:
        """Everything is on disk."""
        self._stream.flush()
        self._stream.disconnect()

    def _log(self, stamp_ns: int, what: str, value: object) -> None:
        self._stream.set_time("stamp", timestamp=np.datetime64(stamp_ns, "ns"))
        self._stream.log(f"{self._name}/{what}", value)
