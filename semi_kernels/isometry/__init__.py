"""Random isometries of an embedding space: maps that keep every distance, drawn afresh as a training augmentation."""

from semi_kernels.isometry.base import Isometry
from semi_kernels.isometry.haar import Haar
from semi_kernels.isometry.hadamard import Hadamard
from semi_kernels.isometry.householder import Householder
from semi_kernels.isometry.signed_permutation import SignedPermutation

KINDS: dict[str, type[Isometry]] = {kind.kind: kind for kind in (Haar, Householder, SignedPermutation, Hadamard)}
"""Isometries by the name used in training configurations."""

__all__ = ["KINDS", "Haar", "Hadamard", "Householder", "Isometry", "SignedPermutation"]
