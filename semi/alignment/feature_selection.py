"""Infinite Feature Selection: keep the columns that matter most (SEMI's way for encoders wider than the projector)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from semi.alignment.base import Alignment, positive, samples_in_float64
from semi.errors import ArtifactError, InputError

DAMPING = 0.9
"""Of the path length, relative to the largest for which the sum over all paths converges."""
ITERATIONS, TOLERANCE = 300, 1e-7
"""Of power iteration; the eigenvalue is off by at most the square of the residual, relative to the spectral gap."""


class FeatureSelection(Alignment):
    """The d_out best columns, the best first.

    Args:
        d_in: width of the embeddings.
        index: the columns kept (d_out,), int64.
    """

    kind: ClassVar[str] = "feature_selection"

    def __init__(self, d_in: int, index: Tensor) -> None:
        self.d_in, self.d_out, self.index = d_in, len(index), index

    @classmethod
    def fit(cls, x: Tensor, d_out: int, alpha: float = 0.2) -> Self:
        """Rank the columns of x (n, d_in) and keep d_out of them; alpha as in `infinite_feature_selection`.

        Raises:
            InputError: d_out is not in 1..d_in, or x cannot be ranked.
        """
        if x.ndim == 2 and not 1 <= d_out <= x.shape[1]:
            raise InputError(
                "feature selection cannot keep that many columns",
                got=f"{d_out} of {x.shape[1]}",
                expected=f"1 to {x.shape[1]}",
                do="use ZeroPad for an encoder narrower than the projector",
            )
        ranking, _ = infinite_feature_selection(x, alpha)
        return cls(x.shape[1], ranking[:d_out])

    def _map(self, x: Tensor) -> Tensor:
        return x.index_select(-1, self.index.to(x.device))

    def tensors(self) -> dict[str, Tensor]:
        return {"index": self.index}

    @classmethod
    def shapes(cls, settings: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
        return {"index": (positive(settings, "d_out"),)}

    @classmethod
    def _restored(cls, settings: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Self:
        d_in, index = positive(settings, "d_in"), tensors["index"]
        if (
            index.dtype != torch.int64
            or index.min() < 0
            or index.max() >= d_in
            or len(set(index.tolist())) < len(index)
        ):
            raise ArtifactError(
                "tensor 'index' of the feature_selection alignment", expected=f"distinct int64 from 0 to {d_in - 1}"
            )
        return cls(d_in, index)


def infinite_feature_selection(x: Tensor, alpha: float = 0.2) -> tuple[Tensor, Tensor]:
    """Rank the columns of x by the weight of all paths through them in a graph of spread and correlation.

    S_ij = max(std_i, std_j), min-max normalised; C = signed Spearman correlation (0 where undefined);
    M = alpha C + (1 - alpha) S; score = row sums of (I - 0.9 / rho(M) M)^-1 - I. Source: SEMI's variant of
    Roffo et al. 2015 (their correlation term is 1 - |rho|).

    Args:
        x: embeddings (n, d), n >= 2.
        alpha: weight of the correlation, 0 to 1.

    Returns:
        ranking (d,) int64, best first, and score (d,) float64 in column order.

    Raises:
        InputError: x is not a finite (n, d), all its columns are constant, or alpha is out of range.
    """
    if not 0 <= alpha <= 1:
        raise InputError("alpha of the feature selection", got=alpha, expected="0 to 1")
    x = samples_in_float64(x)
    graph = feature_graph(x, alpha)
    radius = largest_eigenvalue(graph)
    if radius <= 0:
        raise InputError(
            "the columns of the embeddings cannot be ranked",
            got=f"{x.shape[0]} samples whose columns neither vary nor differ",
            do="check the encoder, or use more and different samples",
        )
    # Its eigenvalues are at least 1 - 0.9, so Cholesky applies; row sums of an inverse need one right-hand side.
    system = torch.eye(len(graph), dtype=graph.dtype, device=graph.device) - DAMPING / radius * graph
    ones = graph.new_ones(len(graph), 1)
    score = (torch.cholesky_solve(ones, torch.linalg.cholesky(system)) - ones).flatten()
    return score.argsort(descending=True, stable=True), score


def feature_graph(x: Tensor, alpha: float) -> Tensor:
    """M (d, d) of `infinite_feature_selection`, of x (n, d) float64."""
    std = x.std(dim=0)  # (d,), ddof 1
    spread = torch.maximum(std[:, None], std)  # (d, d)
    low, high = spread.aminmax()
    # Where all columns spread alike there is nothing to normalise by, and only correlation decides.
    spread = (spread - low) / (high - low) if high > low else torch.zeros_like(spread)
    return alpha * _spearman(x) + (1 - alpha) * spread


def largest_eigenvalue(graph: Tensor) -> Tensor:
    """By power iteration: a few products, where the whole spectrum costs more than all the rest.

    No other is as large: the spread has no negative entry, so by Perron its largest eigenvalue bounds all its others,
    and the correlation, which has no negative eigenvalue, only adds to it. Where two are so close that a few hundred
    steps do not tell them apart, the whole spectrum is computed.
    """
    start = torch.randn(len(graph), dtype=graph.dtype, generator=torch.Generator().manual_seed(0))
    vector = torch.nn.functional.normalize(start, dim=0).to(graph.device)
    for _ in range(ITERATIONS):
        product = graph @ vector
        value = vector @ product
        if (product - value * vector).norm() <= TOLERANCE * value.abs():
            return value
        vector = torch.nn.functional.normalize(product, dim=0)
    whole: Tensor = torch.linalg.eigvalsh(graph)
    return whole[-1]


def _spearman(x: Tensor) -> Tensor:
    """Rank correlation of the columns of x (n, d), ties sharing their mean rank; 0 for constant columns. (d, d)."""
    columns = x.T.contiguous()  # (d, n)
    ordered = columns.sort(dim=1).values
    ranks = torch.searchsorted(ordered, columns) + torch.searchsorted(ordered, columns, right=True)  # twice the mean
    centred = ranks.double() - ranks.double().mean(dim=1, keepdim=True)
    unit = torch.nn.functional.normalize(centred, dim=1)
    return unit @ unit.T
