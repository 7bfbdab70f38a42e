"""Alignments: from any encoder's width to the width that the projector reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from semi.alignment.base import Alignment
from semi.alignment.chain import Chain
from semi.alignment.feature_selection import FeatureSelection, infinite_feature_selection
from semi.alignment.nystroem import Nystroem
from semi.alignment.pca import PCA
from semi.alignment.simple import Identity, ZeroPad
from semi.alignment.standardise import Standardise
from semi.errors import ArtifactError

_ALL = (Identity, ZeroPad, Standardise, FeatureSelection, PCA, Nystroem, Chain)
KINDS: dict[str, type[Alignment]] = {kind.kind: kind for kind in _ALL}
"""Alignments by the name in their settings."""


def restore_alignment(settings: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Alignment:
    """The alignment of any kind that `settings()` and `tensors()` came from.

    Raises:
        ArtifactError: an unknown kind, or settings and tensors that do not belong together.
    """
    kind = settings.get("kind")
    if kind not in KINDS:
        raise ArtifactError("unknown kind of alignment", got=kind, expected=", ".join(KINDS))
    return KINDS[kind].restore(settings, tensors)


__all__ = [
    "KINDS",
    "PCA",
    "Alignment",
    "Chain",
    "FeatureSelection",
    "Identity",
    "Nystroem",
    "Standardise",
    "ZeroPad",
    "infinite_feature_selection",
    "restore_alignment",
]
