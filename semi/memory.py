"""What an integration remembers of its support set: nearest labels, and whether a sample is unlike anything seen."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

MARGIN = 1.5
"""A sample farther from the support than this many times the loneliest support sample is unlike anything seen."""


@dataclass(frozen=True)
class Neighbour:
    """A label of the support set and how far its nearest sample is, in units of the support's usual spacing."""

    label: str
    distance: float


class Memory:
    """Embeddings (k, d_enc) of the support set and their labels (captions, or class names where there are any)."""

    def __init__(self, embeddings: Tensor, labels: list[str]) -> None:
        self.embeddings, self.labels = embeddings.cpu(), labels

    @property
    def spacing(self) -> float:
        """The unit of distances: how far it is from a support sample to the nearest other one, usually."""
        return self._nearest[0]

    @property
    def limit(self) -> float:
        """The distance to the support from which on a sample is unlike anything seen; infinite for one sample."""
        median, largest = self._nearest
        return MARGIN * largest / median

    @cached_property
    def _nearest(self) -> tuple[float, float]:
        """Median and largest distance from a support sample to the nearest that is not the same."""
        distinct = torch.unique(self.embeddings.double(), dim=0)  # copies are no neighbours
        if len(distinct) < 2:
            return 1.0, 0.0 if len(self.embeddings) > 1 else float("inf")
        nearest = torch.cdist(distinct, distinct).fill_diagonal_(float("inf")).min(1).values
        return float(nearest.median()), float(nearest.max())

    def distances(self, embedding: Tensor) -> Tensor:
        """Distances (k,) of one embedding (d_enc,) to the support, in units of its usual spacing."""
        gaps = torch.linalg.vector_norm(self.embeddings.double() - embedding.cpu().double(), dim=1)
        return torch.div(gaps, self.spacing)

    def nearest(self, embedding: Tensor, n: int = 3) -> list[Neighbour]:
        """The n nearest distinct labels."""
        found: dict[str, float] = {}
        distances = self.distances(embedding)
        for i in distances.argsort(stable=True).tolist():
            found.setdefault(self.labels[i], round(float(distances[i]), 4))
            if len(found) == n:
                break
        return [Neighbour(label, distance) for label, distance in found.items()]

    def unlike(self, embedding: Tensor) -> bool:
        """Whether the sample lies outside of what the support set covers."""
        return bool(self.distances(embedding).min() > self.limit)
