"""What an isometry can do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import nullcontext
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from semi_kernels import dispatch
from semi_kernels.isometry import op


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
        return self._turn(x, undo=False)

    def undo(self, y: Tensor) -> Tensor:
        """y R^T, (..., d) -> (..., d): the inverse of `apply`. Raises as `apply`."""
        return self._turn(y, undo=True)

    def matrix(self) -> Tensor:
        """R, dense (d, d)."""
        return self._matrix().to(self.dtype)

    @abstractmethod
    def _apply(self, x: Tensor) -> Tensor: ...

    @abstractmethod
    def _undo(self, y: Tensor) -> Tensor: ...

    @abstractmethod
    def _matrix(self) -> Tensor: ...

    def _operands(self) -> tuple[Tensor, ...]:
        """What its kernel takes; none: it has no kernel, or not for its size."""
        return ()

    def _turn(self, x: Tensor, undo: bool) -> Tensor:
        """By the kernel where there is one for x, otherwise by `_apply` and `_undo`, which are its reference."""
        if x.ndim == 0 or x.shape[-1] != self.d or not x.is_floating_point():
            raise ValueError(
                f"{type(self).__name__}: got shape {tuple(x.shape)} of {x.dtype}, expected a real (..., {self.d})"
            )
        operands = self._operands()
        learned = any(t.requires_grad for t in operands)
        if operands and not learned and x.dtype in dispatch.DTYPES and dispatch.use_triton(x):
            return op.turn(self.kind, x, tuple(_placed(t, x.device) for t in operands), undo)
        wide = x.to(at_least_32_bits(x.dtype))
        with torch.autocast(x.device.type, enabled=False) if x.device.type != "meta" else nullcontext():
            return (self._undo(wide) if undo else self._apply(wide)).to(x.dtype)


def _placed(operand: Tensor, device: torch.device) -> Tensor:
    """Where x is, and of a dtype that kernels load."""
    return operand.to(device, torch.float32 if operand.dtype == torch.float64 else operand.dtype)


def at_least_32_bits(dtype: torch.dtype) -> torch.dtype:
    """The dtype to compute in: rounded to 16 bits, a map would not be an isometry any more."""
    return torch.promote_types(dtype, torch.float32)


def check_size(d: int, dtype: torch.dtype) -> None:
    """Refuse a width below 1 or a dtype that is not real floating point."""
    if d < 1:
        raise ValueError(f"isometry: got d = {d}, expected d >= 1")
    if not dtype.is_floating_point:
        raise ValueError(f"isometry: got dtype {dtype}, expected a floating point dtype")
