"""Who computes the shards of a folder: this process, or workers elsewhere (`semi.encoding.on_ray`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from semi.encoding.embedding import batches, joined
from semi.modality import Encoder
from semi.pairs import Pair

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Shard:
    """Consecutive pairs whose embeddings share a file."""

    index: int
    """0, 1, ..."""
    start: int
    """How many pairs come before it."""
    pairs: Sequence[Pair]

    @property
    def samples(self) -> list[Any]:
        """Its samples, parsed."""
        return [pair.sample for pair in self.pairs]


class Engine(Protocol):
    """Computes shards."""

    def run(
        self, encoder: Encoder, shards: Sequence[Shard], advance: Callable[[int], None]
    ) -> Iterator[tuple[Shard, np.ndarray]]:
        """Each shard once, in any order, with its embeddings (n, d_enc) or (n, t, d_enc), float32, finite.

        Args:
            advance: told how many samples more are done.

        Raises:
            PairsError, PluginError: as `semi.encoding.embed`; sample 1 is the first of all shards.
        """
        ...


class LocalEngine:
    """One shard after the other, in this process."""

    def run(
        self, encoder: Encoder, shards: Sequence[Shard], advance: Callable[[int], None]
    ) -> Iterator[tuple[Shard, np.ndarray]]:
        """See `Engine`."""
        for shard in shards:
            parts = []
            for part in batches(encoder, shard.samples, shard.start):
                parts.append(part)
                advance(len(part))
            yield shard, joined(encoder, parts)
