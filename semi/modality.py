"""What a modality is: the interface that plugins implement. Imports neither torch nor a plugin."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

from semi.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from semi.assets import Asset
    from semi.errors import PairsError
    from semi.pairs import Pair


@runtime_checkable
class Encoder(Protocol):
    """A frozen network from raw samples to embeddings."""

    id: str
    """Names the encoder and its version in manifests, e.g. "molecules/morgan@1"."""
    width: int
    """d_enc."""

    def encode(self, samples: Sequence[Any]) -> np.ndarray:
        """Embeddings (n, d_enc) or (n, t, d_enc), float32, of n samples; deterministic, sample by sample."""
        ...


class Modality(ABC):
    """A kind of data. A plugin subclasses it; everything else in semi knows only this interface."""

    name: ClassVar[str]
    instruction: ClassVar[str]
    """The prompt given with a sample when a pair brings none, e.g. "Describe this molecule."."""
    encoders: ClassVar[tuple[str, ...]] = ("default",)
    """Names of the encoders on offer, the default first."""
    assets: ClassVar[tuple[Asset, ...]] = ()
    """What `semi fetch` brings before its encoders run."""
    examples: ClassVar[tuple[Any, ...]] = ()
    """Three samples as they stand in a pairs file, for `semi plugins check` to try the encoders on; without any it
    takes those of a data set that comes with the modality."""

    @abstractmethod
    def encoder(self, name: str | None = None) -> Encoder:
        """Load an encoder by name (None: the default)."""

    def parse(self, sample: Any, *, folder: Path | None = None) -> Any:
        """The raw sample that `encode` takes, from its form in a pairs file (inline, or a path below `folder`).

        What it returned it takes as it is. A sample that is a file should come back as a Path: the hash of the pairs
        then covers its content.

        Raises:
            PairsError: the sample is not one of this modality.
        """
        return sample

    def misfits(self, samples: Sequence[Any]) -> dict[int, PairsError]:
        """Parsed samples that cannot stand beside the others, by index, and what is wrong with them; none by default.

        Asked of all samples of a file before anything is encoded, so that the line at fault is named.
        """
        return {}

    def draw(self, sample: Any) -> str | None:
        """A picture of the sample as self-contained HTML or SVG for reports, or None."""
        return None

    window_s: ClassVar[tuple[float, float]] = (0.0, math.inf)
    """The shortest and the longest window of a stream, in seconds."""

    @classmethod
    def has_windows(cls) -> bool:
        """Whether it can be streamed: its plugin implements `window`."""
        return cls.window is not Modality.window

    def window(self, values: np.ndarray, rate_hz: float) -> Any:
        """The sample, as `parse` gives it, of a window (n, channels) of a stream at `rate_hz`.

        Raises:
            InputError: the modality has no streams (the default).
            PairsError: the window is no sample: a wrong number of channels, too short, beyond what can be measured.
        """
        raise InputError(
            f"the modality {self.name} cannot be streamed",
            expected="a modality whose samples are windows of measurements",
            do="implement `window` of semi.modality.Modality in its plugin",
        )

    def samples(self, path: Path, topic: str | None = None) -> Iterator[tuple[int, np.ndarray]]:
        """Stamps in ns and measurements (channels,) of a recording, one by one in the order in which they came.

        Measurements are in the units of `window`.

        Args:
            path: a file or folder of a kind that the plugin reads, e.g. a rosbag2 folder.
            topic: which measurements, where there are several; None: the only ones.

        Raises:
            InputError: the modality reads no recordings (the default), or lacks a package for it.
            PairsError: the recording is damaged, or the topic is missing or unclear. At the first sample at the latest.
        """
        raise InputError(
            f"the modality {self.name} reads no recordings",
            got=path,
            do="use a table of stamps and values (.csv, .npz), or implement `samples` of semi.modality.Modality",
        )


class Dataset(ABC):
    """Named pairs of one modality, split so that nothing is shared between the splits."""

    name: ClassVar[str]
    modality: ClassVar[str]
    licence: ClassVar[str]
    assets: ClassVar[tuple[Asset, ...]] = ()

    @abstractmethod
    def pairs(self, split: str = "train") -> list[Pair]:
        """All pairs of "train", "validation" or "test", in a fixed order, samples as `Modality.parse` gives them."""
