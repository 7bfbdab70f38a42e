"""Rows in the order of their groups."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from semi_kernels.grouped.op import group_rows


@dataclass(frozen=True)
class Groups:
    """Which rows belong to which of G adapters, formed once and used by every product of a layer."""

    order: Tensor
    """(M,) int32: rows, those of group 0 first, in their own order within a group."""
    offsets: Tensor
    """(G + 1,) int32: group g is order[offsets[g] : offsets[g + 1]]."""

    @classmethod
    def of(cls, rows: Tensor, G: int) -> Self:
        """rows (M,), integers 0 .. G - 1, to their groups: on their device, without waiting for it.

        On a GPU an entry out of range is not noticed: it belongs to no group, and what a product leaves in its row is
        undefined. No memory is read or written for it.

        Raises:
            TypeError: rows are not integers.
            ValueError: rows is not a vector, G < 1, or rows on the CPU hold an entry out of range.
        """
        if rows.dtype not in (torch.int32, torch.int64):
            raise TypeError(f"Groups.of: got rows of {rows.dtype}, expected int32 or int64")
        if rows.ndim != 1:
            raise ValueError(f"Groups.of: got rows of shape {tuple(rows.shape)}, expected (M,)")
        if G < 1:
            raise ValueError(f"Groups.of: got G = {G}, expected at least 1")
        return cls(*group_rows(rows, G))

    @property
    def count(self) -> int:
        """G."""
        return self.offsets.shape[0] - 1
