"""Where embeddings and adapters lie on a map of two axes."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Literal

import torch
from torch import Tensor

from semi.adapters import ProjectorAdapter
from semi.errors import InputError

Method = Literal["PCA", "UMAP"]
NEIGHBOURS = 15
"""Of UMAP, its own default."""
FEWEST = 4
"""Points that UMAP can place."""


def methods() -> list[Method]:
    """What can draw a map here: UMAP where umap-learn is installed."""
    return ["PCA", "UMAP"] if find_spec("umap") else ["PCA"]


def place(points: Tensor, method: Method = "PCA") -> Tensor:
    """Points (n, d) on a map (n, 2), float64.

    Raises:
        InputError: too few points.
    """
    if method == "UMAP":
        return _umap(points)
    centred = (points - points.mean(0)).double()
    left, scales, _ = torch.linalg.svd(centred, full_matrices=False)
    return _two(left * scales)


def place_adapters(adapters: Sequence[ProjectorAdapter]) -> Tensor:
    """A map (n, 2) of adapters, by kernel PCA over `similarity`."""
    n = len(adapters)
    kernel = torch.tensor([[similarity(one, other) for other in adapters] for one in adapters], dtype=torch.float64)
    centring = torch.eye(n, dtype=torch.float64) - 1 / n
    values, vectors = torch.linalg.eigh(centring @ kernel @ centring)
    return _two((vectors * values.clamp(min=0).sqrt()).flip(1))


def similarity(one: ProjectorAdapter, other: ProjectorAdapter) -> float:
    """How alike two adapters of one projector are: 0 (they write to orthogonal directions) to 1.

    The cosine between the Gram matrices (A B)^T (A B) of their updates, summed over layers. It takes in only what an
    adapter writes: encoders of any width compare, and an isometry of the embeddings changes nothing.
    """
    scale = (_overlap(one, one) * _overlap(other, other)) ** 0.5
    return _overlap(one, other) / scale if scale else float(one is other)


def _overlap(one: ProjectorAdapter, other: ProjectorAdapter) -> float:
    """Sum over layers of |A B (A' B')^T|^2, by way of matrices of the ranks' size."""
    total = 0.0
    for A, B, C, D in zip(one.A, one.B, other.A, other.B, strict=True):
        a, b, c, d = (t.detach().cpu().double() for t in (A, B, C, D))
        across = b @ d.T
        total += float(torch.trace(a.T @ a @ across @ c.T @ c @ across.T))
    return total


def _two(scores: Tensor) -> Tensor:
    """The first two columns, each with its largest entry above 0: signs mean nothing, and must not flip."""
    padded = torch.nn.functional.pad(scores, (0, max(0, 2 - scores.shape[1])))[:, :2]
    largest = padded.gather(0, padded.abs().argmax(0, keepdim=True))
    return padded * torch.where(largest < 0, -1.0, 1.0)


def _umap(points: Tensor) -> Tensor:
    if (n := len(points)) < FEWEST:
        raise InputError("UMAP needs more points", got=n, expected=f"at least {FEWEST}", do="choose PCA")
    from umap import UMAP

    fitted = UMAP(n_neighbors=min(NEIGHBOURS, n - 1), random_state=0, n_jobs=1).fit_transform(points.numpy())
    return torch.from_numpy(fitted).double()
