"""Windows to readings: what needs no language model."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from semi.encoding import embed
from semi.errors import InputError
from semi.integration import pool
from semi.memory import Memory
from semi.modality import Encoder, Modality
from semi.streams.stream import Reading
from semi.streams.windows import Window


@dataclass(frozen=True)
class Labeller:
    """The encoder of an integration and what it remembers of its support set."""

    modality: Modality
    encoder: Encoder
    memory: Memory
    instruction: str

    def read(self, windows: Sequence[tuple[Window, float]]) -> list[Reading | Exception]:
        """A reading for each window and its rate in Hz, embedded in one batch; its error where it cannot be read."""
        try:
            samples = [self.modality.window(window.values, rate) for window, rate in windows]
            embeddings = embed(self.encoder, samples)
            return [self._reading(window, row) for (window, _), row in zip(windows, embeddings, strict=True)]
        except Exception as error:  # plugins raise anything, and the stream goes on with its next window
            if len(windows) > 1:
                return [self.read([each])[0] for each in windows]
            return [error]

    def warmup(self) -> np.ndarray:
        """Read an example of the modality, and the embedding (d_enc,) of a support sample, which is returned."""
        with suppress(InputError):  # those of `vectors` have another width than the data
            embed(self.encoder, [self.modality.parse(sample) for sample in self.modality.examples[:1]])
        row: np.ndarray = self.memory.embeddings[0].float().numpy()
        self._reading(Window(0, 0, 0, 0, row), row)
        return row

    def read_sample(self, sample: Any, stamp_ns: int = 0) -> Reading:
        """A reading of a sample that is no window.

        Raises:
            PairsError: it is not a sample of the modality.
        """
        came = time.monotonic()
        [embedding] = embed(self.encoder, [self.modality.parse(sample)])
        return self._reading(Window(0, 0, stamp_ns, stamp_ns, embedding, came), embedding)

    def _reading(self, window: Window, embedding: np.ndarray) -> Reading:
        pooled = pool(torch.from_numpy(embedding)[None])[0]
        return Reading(
            self.modality.name,
            self.memory.nearest(pooled),
            self.memory.unlike(pooled),
            window.run,
            window.number,
            window.start_ns,
            window.end_ns,
            embedding,
            window.sealed_at,
        )
