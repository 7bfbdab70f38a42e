"""Pairs (sample, caption)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Pair:
    """A raw sample and its caption; what a support set is made of."""

    sample: Any
    caption: str
    instruction: str | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)
    """Facts behind the caption by slot, e.g. {"family": "ester"}; used by attribute accuracy only."""
