"""Pairs of the support set shown before a sample, as earlier turns of the conversation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

from torch import Tensor

from semi.prompts import Turn
from semi.retrieval import Retrieval


class Examples:
    """What the language model is shown beside a sample: the nearest pairs, with their soft tokens, the nearest last.

    Args:
        count: pairs shown with each sample.
        retrieval: which ones.
        soft: soft tokens of the support set (k, t, d_lm), each as if its pair were new.
        instructions: of the k pairs.
        captions: of the k pairs.
    """

    def __init__(
        self, count: int, retrieval: Retrieval, soft: Tensor, instructions: Sequence[str], captions: Sequence[str]
    ) -> None:
        self.count, self.retrieval, self.soft = count, retrieval, soft
        self.instructions, self.captions = list(instructions), list(captions)

    def before(self, samples: Tensor) -> list[list[Turn]]:
        """The turns that stand before each of some aligned samples (q, d)."""
        return [self.turns(row) for row in self.retrieval.nearest(samples, self.count).flip(1).tolist()]

    def turns(self, index: Sequence[int]) -> list[Turn]:
        """The turns of some pairs."""
        return [Turn(self.soft[i], self.instructions[i], self.captions[i]) for i in index]

    def settings(self) -> dict[str, Any]:
        """JSON-able description."""
        return {"count": self.count, "instructions": self.instructions, "captions": self.captions}

    def tensors(self) -> dict[str, Tensor]:
        """What `restore` needs beside the settings, by name."""
        return self.retrieval.tensors() | {"soft": self.soft}

    @classmethod
    def shapes(cls, settings: Mapping[str, Any], d: int, d_lm: int) -> dict[str, tuple[int | None, ...]]:
        """The shape of every tensor that belongs to these settings, for aligned samples of width d."""
        k = len(settings["captions"])
        return {"mean": (d,), "map": (d, None), "keys": (k, None), "soft": (k, None, d_lm)}

    @classmethod
    def restore(cls, settings: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Self:
        """The examples that `settings()` and `tensors()` came from."""
        retrieval = Retrieval(*(tensors[name] for name in ("mean", "map", "keys")))
        return cls(settings["count"], retrieval, tensors["soft"], settings["instructions"], settings["captions"])
