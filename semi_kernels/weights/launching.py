"""How kernels are handed a weight: always the same pointers, whatever its layout."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from semi_kernels.weights.nf4 import levels

POINTERS = ("w_ptr", "scales_ptr", "extra_ptr", "scales2_ptr", "offset_ptr", "table_ptr")
"""What a kernel calls them; extra: the table of nested scales' codes (NF4) or the minima (Q4_1)."""


def operands(tensors: Sequence[Tensor], unused: Tensor) -> tuple[Tensor, ...]:
    """Tensors for POINTERS, in order; `unused` stands in for those that the layout has no use for."""
    given = [*tensors, *[unused] * (len(POINTERS) - 1 - len(tensors))]
    return (*given, levels(unused.device))


def strides(tensors: Sequence[Tensor], layout: str) -> tuple[int, int]:
    """Of a dense weight; packed ones have none."""
    return (tensors[0].stride(0), tensors[0].stride(1)) if layout == "dense" else (0, 0)
