"""Isometries in the flat form that the schema of an operation can hold."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from semi_kernels.isometry import Hadamard, Householder, Isometry, SignedPermutation
from semi_kernels.isometry.base import at_least_32_bits


def flatten(isometry: Isometry | None, like: Tensor) -> tuple[list[Tensor], str]:
    """Its tensors, where and in at least the precision in which `like` is, and the kind.

    householder: V (d, k), V T (d, k), T (k, k); signed_permutation: index (d,), sign (d,); hadamard: index, sign
    (rounds, d).
    """
    if isometry is None:
        return [], "none"
    if isinstance(isometry, Householder):
        parts = [isometry.v, isometry.vt, isometry.t]
    elif isinstance(isometry, SignedPermutation | Hadamard):
        parts = [isometry.index, isometry.sign]
    else:
        raise TypeError(
            f"isometry: got {type(isometry).__name__}, expected one that a kernel can apply; apply it to x first"
        )
    dtype = at_least_32_bits(like.dtype)
    placed = (part.to(like.device, dtype if part.is_floating_point() else part.dtype) for part in parts)
    return [part.contiguous() for part in placed], isometry.kind


def restore(tensors: Sequence[Tensor], kind: str) -> Isometry | None:
    """The inverse of `flatten`."""
    if kind == "none":
        return None
    if kind == "householder":
        return Householder(tensors[0], t=tensors[2])
    first, second = tensors
    if kind == "signed_permutation":
        return SignedPermutation(first, second)
    return Hadamard([SignedPermutation(index, sign) for index, sign in zip(first, second, strict=True)])
