"""What a metric is: a score of generated text that a plugin adds to `semi eval`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from semi.pairs import Pair


class Metric(ABC):
    """One number for the texts of a whole evaluation."""

    name: ClassVar[str]

    @abstractmethod
    def score(self, texts: Sequence[str], pairs: Sequence[Pair]) -> float:
        """The score, finite, of n generated texts beside the n pairs (sample, caption, attributes) they describe."""
