"""Ridge regression from a few samples to the embeddings of their captions, its constants by leave-one-out."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

LAMBDAS = torch.logspace(-4, 2, 25, dtype=torch.float64)
"""Candidate penalties, relative to the mean squared norm of the centred samples."""


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

        Leave-one-out residuals are e_i / (1 - h_ii - 1/k), the 1/k for the intercept. With fewer than three pairs the
        middle penalty is taken.
        """
        z, targets = samples.double(), texts.double()
        k, mean = len(z), z.mean(0)
        centred = z - mean
        values, vectors = torch.linalg.eigh(centred @ centred.T)
        values = values.clamp_min(0)
        scale = float(values.mean()) or 1.0
        deviation = targets - targets.mean(0)
        rotated = vectors.T @ deviation

        def leverage(penalty: float) -> Tensor:
            own: Tensor = (vectors.square() * (values / (values + penalty))).sum(1) + 1 / k
            return own

        def left_out_error(penalty: float) -> float:
            residual = deviation - (vectors * (values / (values + penalty))) @ rotated
            return float((residual / _share_of_others(leverage(penalty))).square().sum(1).mean())

        candidates = (LAMBDAS * scale).tolist()
        if k < 3:
            penalty, error = candidates[len(candidates) // 2], float("inf")
        else:
            error, penalty = min((left_out_error(p), p) for p in candidates)
        dual = (vectors / (values + penalty)) @ vectors.T
        return cls(mean, centred, dual, targets, leverage(penalty), penalty, error)

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
