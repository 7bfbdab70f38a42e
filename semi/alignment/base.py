"""What an alignment is: a fixed map from an encoder's width to the width that the projector reads."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from semi.errors import ArtifactError, InputError


class Alignment(ABC):
    """(..., d_in) -> (..., d_out). Stored with an integration as `settings()` (JSON) and `tensors()` (safetensors)."""

    kind: ClassVar[str]
    d_in: int
    d_out: int

    def __call__(self, x: Tensor) -> Tensor:
        """Aligned embeddings (..., d_out), in the dtype and on the device of x (..., d_in); differentiable in x.

        Raises:
            InputError: x has another width.
        """
        if x.ndim == 0 or x.shape[-1] != self.d_in:
            raise InputError(
                f"the embedding does not fit the {self.kind} alignment",
                got=f"shape {tuple(x.shape)}",
                expected=f"(..., {self.d_in})",
                do="use the encoder that the alignment was fitted with",
            )
        return self._map(x)

    @abstractmethod
    def _map(self, x: Tensor) -> Tensor: ...

    def tensors(self) -> dict[str, Tensor]:
        """What `restore` needs beside the settings, by name."""
        return {}

    def settings(self) -> dict[str, Any]:
        """What `restore` needs, JSON-able: kind, d_in, d_out and the constants of the subclass."""
        return {"kind": self.kind, "d_in": self.d_in, "d_out": self.d_out}

    @classmethod
    def shapes(cls, settings: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
        """The shape of every tensor that belongs to these settings.

        Raises:
            ArtifactError: a setting is missing or of the wrong kind.
        """
        return {}

    @classmethod
    def restore(cls, settings: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Self:
        """The alignment that `settings()` and `tensors()` came from.

        Raises:
            ArtifactError: a setting or tensor is missing, unknown, of another shape or not finite.
        """
        if settings.get("kind") != cls.kind:
            raise ArtifactError("another kind of alignment", got=settings.get("kind"), expected=cls.kind)
        shapes = cls.shapes(settings)
        if set(tensors) != set(shapes):
            raise ArtifactError(
                f"the tensors of the {cls.kind} alignment", got=sorted(tensors) or None, expected=sorted(shapes)
            )
        for name, shape in shapes.items():
            if tuple(tensors[name].shape) != shape:
                raise ArtifactError(
                    f"tensor {name!r} of the {cls.kind} alignment", got=tuple(tensors[name].shape), expected=shape
                )
            if not tensors[name].isfinite().all():
                raise ArtifactError(f"tensor {name!r} of the {cls.kind} alignment holds NaN or infinity")
        return cls._restored(settings, tensors)

    @classmethod
    @abstractmethod
    def _restored(cls, settings: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Self: ...


def positive(settings: Mapping[str, Any], name: str) -> int:
    """The integer setting `name`, at least 1."""
    value = settings.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ArtifactError(f"alignment setting {name!r}", got=value, expected="an integer of at least 1")
    return value


def samples_in_float64(x: Tensor) -> Tensor:
    """The samples (n, d) that an alignment is fitted to, detached, in float64.

    Raises:
        InputError: not two-dimensional, fewer than two rows, or a row that is not finite.
    """
    if x.ndim != 2 or x.shape[0] < 2 or x.shape[1] < 1:
        raise InputError(
            "an alignment is fitted to a table of embeddings",
            got=f"shape {tuple(x.shape)}",
            expected="(n, d_enc) with n >= 2",
        )
    bad = (~x.isfinite().all(dim=1)).nonzero().flatten().tolist()
    if bad:
        raise InputError(
            "embeddings with NaN or infinity", got=f"in row {bad[0]}", expected="finite numbers", do="drop that sample"
        )
    return x.detach().to(torch.float64)
