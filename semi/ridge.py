"""Ridge regression from a few samples to the embeddings of their captions, its constants by leave-one-out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

LAMBDAS = torch.logspace(-4, 2, 25, dtype=torch.float64)
"""Candidate penalties, relative to the mean squared norm of the centred samples."""


@dataclass(frozen=True)
class Spectrum:
    """Samples in the axes of their Gram matrix, where a ridge fit with an unpenalised intercept is a product; float64.

    Attributes:
        mean: of the samples, (d,).
        centred: samples less their mean, Zc (k, d).
        values: eigenvalues of Zc Zc^T, (k,).
        vectors: its eigenvectors, (k, k).
    """

    mean: Tensor
    centred: Tensor
    values: Tensor
    vectors: Tensor

    @classmethod
    def of(cls, samples: Tensor) -> Spectrum:
        """Of samples (k, d)."""
        z = samples.double()
        mean = z.mean(0)
        values, vectors = torch.linalg.eigh((z - mean) @ (z - mean).T)
        return cls(mean, z - mean, values.clamp_min(0), vectors)

    @property
    def penalties(self) -> list[float]:
        """The candidates for lambda."""
        candidates: list[float] = (LAMBDAS * (float(self.values.mean()) or 1.0)).tolist()
        return candidates

    def leverage(self, penalty: float) -> Tensor:
        """How far each pair pulls its own prediction, intercept included, (k,)."""
        pull: Tensor = (self.vectors.square() * (self.values / (self.values + penalty))).sum(1) + 1 / len(self.values)
        return pull

    def left_out(self, deviation: Tensor) -> Iterator[Tensor]:
        """For every candidate penalty, residuals (k, m) of targets when each is predicted by the fit to the others.

        They are e_i / (1 - h_ii - 1/k), the 1/k for the intercept; targets (k, m) are given less their mean.
        """
        rotated = self.vectors.T @ deviation
        for penalty in self.penalties:
            fitted = (self.vectors * (self.values / (self.values + penalty))) @ rotated
            yield (deviation - fitted) / _share_of_others(self.leverage(penalty))

    def map(self, penalties: Tensor, deviation: Tensor) -> Tensor:
        """Samples' deviation to targets' (d, m), each of the m with a penalty of its own."""
        weights = (self.vectors.T @ deviation) / (self.values[:, None] + penalties)
        return self.centred.T @ (self.vectors @ weights)


@dataclass(frozen=True)
class Ridge:
    """A fit with an unpenalised intercept; all float64.

    Attributes:
        mean: of the samples, (d,).
        centred: samples less their mean, Zc (k, d).
        dual: (Zc Zc^T + lambda I)^-1, (k, k).
        texts: caption embeddings, (k, d_text).
        leverage: how far each pair pulls its own prediction, intercept included, (k,).
        penalty: lambda, the candidate with the smallest leave-one-out error.
        error: mean squared leave-one-out error; infinite with fewer than three pairs, where nothing can be left out.
    """

    mean: Tensor
    centred: Tensor
    dual: Tensor
    texts: Tensor
    leverage: Tensor
    penalty: float
    error: float

    @classmethod
    def fit(cls, samples: Tensor, texts: Tensor) -> Ridge:
        """The fit of samples (k, d) to caption embeddings (k, d_text).

        With fewer than three pairs, which leave nothing out, the middle penalty is taken.
        """
        spectrum, targets = Spectrum.of(samples), texts.double()
        deviation, penalties = targets - targets.mean(0), spectrum.penalties
        if len(targets) < 3:
            penalty, error = penalties[len(penalties) // 2], float("inf")
        else:
            errors = [float(left_out.square().sum(1).mean()) for left_out in spectrum.left_out(deviation)]
            error, penalty = min(zip(errors, penalties, strict=True))
        dual = (spectrum.vectors / (spectrum.values + penalty)) @ spectrum.vectors.T
        leverage = spectrum.leverage(penalty)
        return cls(spectrum.mean, spectrum.centred, dual, targets, leverage, penalty, error)

    @property
    def map(self) -> Tensor:
        """Samples' deviation from their mean to captions' deviation from theirs, (d, d_text)."""
        return self.centred.T @ (self.dual @ (self.texts - self.texts.mean(0)))

    def of_rank(self, rank: int) -> Ridge:
        """Reduced-rank regression: the fit whose predictions for the support set are nearest among those of a rank.

        Captions are replaced by their projections on the leading axes of the predictions (Izenman 1975).
        """
        deviation = self.texts - self.texts.mean(0)
        axes = torch.linalg.svd(self.centred @ self.map, full_matrices=False).Vh[:rank]  # (rank, d_text)
        return replace(self, texts=self.texts.mean(0) + deviation @ axes.T @ axes)

    def predict(self, samples: Tensor) -> Tensor:
        """Predicted caption embeddings (..., d_text) of samples (..., d)."""
        predicted: Tensor = self.texts.mean(0) + (samples.double() - self.mean) @ self.map
        return predicted

    def predict_unseen(self, samples: Tensor) -> Tensor:
        """Predictions for the support set itself as if it were new.

        Leaving pair i out is fitting it to its own left-out prediction, and the fit is linear in what it is fitted to.

        Args:
            samples: (k, ..., d); samples[i] belong to pair i, and the fit without pair i predicts them.

        Returns:
            (k, ..., d_text); exact for features and penalty as they are.
        """
        k = len(self.texts)
        pull = 1 / k + torch.einsum(
            "i...d,id->i...", samples.double() - self.mean, self.dual @ self.centred
        )  # (k, ...)
        surprise = (self.texts - self.predict(self.mean + self.centred)) / _share_of_others(self.leverage)
        return self.predict(samples) - torch.einsum("i...,it->i...t", pull, surprise)


def _share_of_others(leverage: Tensor) -> Tensor:
    """1 - leverage (k,) as a column: what the other pairs say of each one."""
    return (1 - leverage).clamp_min(1e-6)[:, None]
