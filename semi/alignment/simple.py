"""Alignments that are not fitted: identity and zero-padding."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from torch import Tensor, nn

from semi.alignment.base import Alignment, positive
from semi.errors import InputError


class Identity(Alignment):
    """The encoder already has the width d."""

    kind: ClassVar[str] = "identity"

    def __init__(self, d: int) -> None:
        self.d_in = self.d_out = d

    def _map(self, x: Tensor) -> Tensor:
        return x

    @classmethod
    def _restored(cls, settings: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Self:
        return cls(positive(settings, "d_in"))


class ZeroPad(Alignment):
    """d_out - d_in zeros behind the embedding (SEMI's way for encoders narrower than the projector).

    Raises:
        InputError: d_out < d_in.
    """

    kind: ClassVar[str] = "zero_pad"

    def __init__(self, d_in: int, d_out: int) -> None:
        if d_out < d_in:
            raise InputError(
                "zero-padding cannot make an embedding narrower",
                got=f"{d_in} -> {d_out}",
                do="use FeatureSelection, PCA or Nystroem",
            )
        self.d_in, self.d_out = d_in, d_out

    def _map(self, x: Tensor) -> Tensor:
        return nn.functional.pad(x, (0, self.d_out - self.d_in))

    @classmethod
    def _restored(cls, settings: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Self:
        return cls(positive(settings, "d_in"), positive(settings, "d_out"))
