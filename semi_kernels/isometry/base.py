"""What an isometry can do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Self

import torch
from torch import Tensor


class Isometry(ABC):
    """An orthogonal map R of R^d, applied to rows: `apply(x) == x @ matrix()`, `undo(apply(x)) == x`.

    Drawn with `sample` on the generator's device, so one seed gives one isometry whatever device it then lives on.
    An isometry follows the dtype and device of what it is applied to, and computes in float32 at least.
    """

    kind: ClassVar[str]
    fusable: ClassVar[bool]
    """Can ride a kernel: its application to a row costs far less than the layer it would be fused into."""

    def __init__(self, d: int, dtype: torch.dtype) -> None:
        self.d, self.dtype = d, dtype

    @classmethod
    @abstractmethod
    def sample(
        cls,
        d: int,
        *,
        generator: torch.Generator,
        device: torch.device | str | None = None,
        dtype: torch.dtype = torch.float32,
        **options: Any,
    ) -> Self:
        """Draw one.

        Args:
            d: width of the space.
            generator: the only source of randomness.
            device: where its tensors live; None: the generator's.
            dtype: of `matrix()`; what it is computed from is float32 at least.
            options: of the subclass (`k` of Householder, `rounds` of Hadamard).

        Raises:
            ValueError: d, dtype or an option out of range.
        """

    def apply(self, x: Tensor) -> Tensor:
        """x R, (..., d) -> (..., d). Raises ValueError for another width or a dtype without fractions."""
        return self._apply(self._checked(x)).to(x.dtype)

    def undo(self, y: Tensor) -> Tensor:
        """y R^T, (..., d) -> (..., d): the inverse of `apply`. Raises as `apply`."""
        return self._undo(self._checked(y)).to(y.dtype)

    def matrix(self) -> Tensor:
        """R, dense (d, d)."""
        return self._matrix().to(self.dtype)

    @abstractmethod
    def _apply(self, x: Tensor) -> Tensor: ...

    @abstractmethod
    def _undo(self, y: Tensor) -> Tensor: ...

    @abstractmethod
    def _matrix(self) -> Tensor: ...

    def _checked(self, x: Tensor) -> Tensor:
        if x.ndim == 0 or x.shape[-1] != self.d or not x.is_floating_point():
            raise ValueError(
                f"{type(self).__name__}: got shape {tuple(x.shape)} of {x.dtype}, expected a real (..., {self.d})"
            )
        return x.to(at_least_32_bits(x.dtype))


def at_least_32_bits(dtype: torch.dtype) -> torch.dtype:
    """The dtype to compute in: rounded to 16 bits, a map would not be an isometry any more."""
    return torch.promote_types(dtype, torch.float32)


def check_size(d: int, dtype: torch.dtype) -> None:
    """Refuse a width below 1 or a dtype that is not real floating point."""
    if d < 1:
        raise ValueError(f"isometry: got d = {d}, expected d >= 1")
    if not dtype.is_floating_point:
        raise ValueError(f"isometry: got dtype {dtype}, expected a floating point dtype")
