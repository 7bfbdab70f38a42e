"""How well each model comes back from a merge: sums over blocks, and the figures of the certificate."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Self

import torch
from torch import Tensor

from semi.errors import InputError
from semi.merge.codes import Code
from semi.merge.sums import row_sums

_TILE = 2**16  # entries of a model measured at once, rounded up to rows


class Fidelity:
    """Adds up blocks of deltas against what a merge gives back.

    Entries with NaN or Inf, in the delta or in what comes back, are counted, and left out of everything else.

    Args:
        models: their names, in the order of the blocks' first dimension.
        merged: how many of them, the first ones, the shared vector was made of; None: all. Their signs are compared.
    """

    def __init__(self, models: Sequence[str], merged: int | None = None) -> None:
        self.models = tuple(models)
        n = len(self.models)
        self._merged = n if merged is None else merged
        self._entries = 0
        self._conflicts = 0
        self._sums = torch.zeros(n, 4, dtype=torch.float64)  # tau^2, (tau - delta)^2, delta^2, tau delta
        self._not_finite = torch.zeros(n, dtype=torch.int64)
        self._shared_support = torch.zeros(n, n, dtype=torch.int64)  # entries that models i and j both get

    def add(self, tau: Tensor, code: Code, scales: Tensor | None = None) -> None:
        """A block: float32 (N, rows, columns), its code, and row scales (N, rows) or none."""
        for tile in row_tiles(tau):
            part = Code(code.shared[tile], None if code.masks is None else code.masks[:, tile])
            back = [part.delta(i, None if scales is None else scales[i, tile]) for i in range(len(tau))]
            self._add(tau[:, tile].flatten(1), torch.stack(back).flatten(1))

    def compare(self, tau: Tensor, delta: Tensor) -> None:
        """A block, and what comes back of it: float32 (N, rows, columns), twice."""
        for tile in row_tiles(tau):
            self._add(tau[:, tile].flatten(1), delta[:, tile].flatten(1))

    def _add(self, tau: Tensor, delta: Tensor) -> None:
        """(N, n), twice."""
        sums = _sums(tau, delta)
        if not sums.isfinite().all():  # to look at every entry would take as long as all the rest
            finite = tau.isfinite() & delta.isfinite()
            self._not_finite += (~finite).sum(1)
            tau, delta = tau.where(finite, 0), delta.where(finite, 0)
            sums = _sums(tau, delta)
        self._sums += sums
        self._entries += tau.shape[1]
        if self._merged:
            voters = tau[: self._merged]
            self._conflicts += int(((voters.amax(0) > 0) & (voters.amin(0) < 0)).sum())
        support = torch.ne(delta, 0, out=torch.empty_like(delta))  # as 0 and 1
        self._shared_support += (support @ support.T).long()  # exact: a tile has fewer than 2**24 entries

    def merge(self, other: Fidelity) -> None:
        """Add what another one has seen.

        Raises:
            InputError: it is about other models.
        """
        if other.models != self.models:
            raise InputError("these figures are about other models", got=other.models, expected=self.models)
        self._entries += other._entries
        self._conflicts += other._conflicts
        self._sums += other._sums
        self._not_finite += other._not_finite
        self._shared_support += other._shared_support

    def scaled(self, factors: Tensor) -> Self:
        """The figures as if what each model gets back had been multiplied by its factor: float (N,), none of them zero.

        For factors that are known after the last block only. They come from the sums, so residuals that are tiny beside
        the deltas are less exact than with `add`.
        """
        own, _, kept, dot = self._sums.unbind(1)
        factors = factors.double()
        scaled = self.restore(self.state())
        residual = (own - 2 * factors * dot + factors**2 * kept).clamp(min=0)
        scaled._sums = torch.stack([own, residual, factors**2 * kept, factors * dot], dim=1)
        return scaled

    def state(self) -> dict[str, Any]:
        """All that was added up, for JSON; `restore` gives it back exactly."""
        return {
            "models": list(self.models),
            "merged": self._merged,
            "entries": self._entries,
            "conflicts": self._conflicts,
            "sums": self._sums.tolist(),
            "not_finite": self._not_finite.tolist(),
            "shared_support": self._shared_support.tolist(),
        }

    @classmethod
    def restore(cls, state: dict[str, Any]) -> Self:
        """From what `state` gave."""
        fidelity = cls(state["models"], state["merged"])
        fidelity._entries, fidelity._conflicts = state["entries"], state["conflicts"]
        fidelity._sums = torch.tensor(state["sums"], dtype=torch.float64)
        fidelity._not_finite = torch.tensor(state["not_finite"], dtype=torch.int64)
        fidelity._shared_support = torch.tensor(state["shared_support"], dtype=torch.int64)
        return fidelity

    def report(self) -> dict[str, Any]:
        """The figures, for JSON; None where something is divided by zero.

        * `residual`: ||tau_i - delta_i||^2 / ||tau_i||^2, `cosine` of the two, `density`: share of entries that the
          model gets something for, `not_finite`: entries with NaN or Inf.
        * `sign_conflict`: share of entries where some merged models' deltas are positive and others' negative.
        * `mask_overlap`: Jaccard index of the entries that each two models get.
        """
        own = self._shared_support.diagonal().tolist()
        figures = {}
        for i, name in enumerate(self.models):
            square, residual, kept, dot = self._sums[i].tolist()
            figures[name] = {
                "residual": _ratio(residual, square) if residual else 0.0,
                "cosine": _ratio(dot, (square * kept) ** 0.5),
                "density": _ratio(own[i], self._entries),
                "not_finite": int(self._not_finite[i]),
            }
        overlap: dict[str, dict[str, float | None]] = {name: {} for name in self.models}
        for i, one in enumerate(self.models):
            for j, other in enumerate(self.models):
                if i != j:
                    both = int(self._shared_support[i, j])
                    overlap[one][other] = _ratio(both, own[i] + own[j] - both)
        return {
            "entries": self._entries,
            "models": figures,
            "sign_conflict": _ratio(self._conflicts, self._entries),
            "mask_overlap": overlap,
        }


def row_tiles(tau: Tensor) -> Iterator[slice]:
    """Rows of a block (N, rows, columns), a few at a time, so that their products stay in the cache."""
    rows, columns = tau.shape[1:]
    step = max(1, _TILE // max(1, columns))
    return (slice(start, start + step) for start in range(0, rows, step))


def _sums(tau: Tensor, delta: Tensor) -> Tensor:
    """tau^2, (tau - delta)^2, delta^2 and tau delta of each model: float32 (N, n), twice -> float64 (N, 4)."""
    residual = tau - delta
    terms = (tau * tau, residual * residual, delta * delta, tau * delta)
    return torch.stack([row_sums(term) for term in terms], dim=1)


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None
