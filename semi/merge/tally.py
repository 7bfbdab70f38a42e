"""What is added up over the blocks of a merge: the figures of its certificate, and the models' scales."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from semi.merge.codes import Code
from semi.merge.config import Scale
from semi.merge.fidelity import Fidelity
from semi.merge.scales import emr_scales, emr_totals, row_scales

_TILE = 2**16
"""Entries of a model worked on at once, rounded up to rows."""


class Tally:
    """Adds up blocks with their codes.

    Args:
        models: their names.
        scale: as in the configuration.
        state: what `state` gave after the blocks before; None to begin.
    """

    def __init__(self, models: Sequence[str], scale: Scale, state: Mapping[str, Any] | None = None) -> None:
        self._scale = scale
        self._fidelity = Fidelity.restore(state["fidelity"]) if state else Fidelity(models)
        self._totals = torch.zeros(len(models), 2, dtype=torch.float64)
        if state:
            self._totals = torch.tensor(state["totals"], dtype=torch.float64)

    def add(self, tau: Tensor, code: Code) -> Tensor | None:
        """A block: its row scales, float32 (N, rows), where `scale` is "row"."""
        scales = None
        if self._scale == "row":
            scales = _row_scales(tau, code)
        elif self._scale == "model":
            # One model at a time: the magnitudes of all would take as much memory as the deltas.
            alone = (Code(code.shared, None if code.masks is None else code.masks[i : i + 1]) for i in range(len(tau)))
            self._totals += torch.cat([emr_totals(one[None], own) for one, own in zip(tau, alone, strict=True)])
        self._fidelity.add(tau, code, scales)
        return scales

    @property
    def scales(self) -> Tensor | None:
        """Where `scale` is "model", the factors after the last block: float32 (N,)."""
        return emr_scales(self._totals) if self._scale == "model" else None

    def report(self) -> dict[str, Any]:
        """The figures of `Fidelity.report` after the last block."""
        scales = self.scales
        return (self._fidelity if scales is None else self._fidelity.scaled(scales)).report()

    def state(self) -> dict[str, Any]:
        """All that was added up, for JSON."""
        return {"totals": self._totals.tolist(), "fidelity": self._fidelity.state()}


def _row_scales(tau: Tensor, code: Code) -> Tensor:
    """Of all models, float32 (N, rows): a few rows at a time, so that their products stay in the cache."""
    rows, columns = tau.shape[1:]
    scales = torch.empty(len(tau), rows)
    step = max(1, _TILE // columns)
    for start in range(0, rows, step):
        tile = slice(start, start + step)
        part = Code(code.shared[tile], None if code.masks is None else code.masks[:, tile])
        for i, one in enumerate(tau):
            scales[i, tile] = row_scales(one[tile], part.delta(i))
    return scales
