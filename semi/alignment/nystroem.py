"""Similarities to the support set as features: any encoder width, and blind to isometries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self, get_args

import torch
from torch import Tensor

from semi.alignment.base import Alignment, positive, samples_in_float64
from semi.alignment.pca import signs
from semi.errors import ArtifactError, InputError

Kernel = Literal["linear", "rbf", "laplace", "tanimoto"]
KERNELS: tuple[Kernel, ...] = get_args(Kernel)


class Nystroem(Alignment):
    """Kernel principal components: features phi with phi(x) . phi(x_j) = k_c(x, x_j) for every support sample x_j.

    k_c is the kernel centred on the support, as in kernel PCA (Schoelkopf et al. 1998). Kernels depend on distances
    and inner products only, so an isometry applied to support and queries alike changes nothing; all but "tanimoto"
    (made for counts) ignore translations too. d_out <= k - 1 is the number of components that carry anything.

    Args:
        support: (k, d_in) float64.
        basis: (k, d_out) float64, takes centred similarities to features.
        kernel: linear x.y; rbf exp(-r^2 / 2 b^2); laplace exp(-r / b); tanimoto x.y / (x.x + y.y - x.y).
        bandwidth: b, in the units of the embeddings; unused by linear and tanimoto.
    """

    kind: ClassVar[str] = "nystroem"

    def __init__(self, support: Tensor, basis: Tensor, kernel: Kernel, bandwidth: float) -> None:
        self.support, self.basis = support, basis
        self.kernel, self.bandwidth = kernel, bandwidth
        self.d_in, self.d_out = support.shape[1], basis.shape[1]
        # Centring on the support's mean is the kernel's own doing for "linear", but here it costs no digits.
        self._origin = torch.zeros_like(support[0]) if kernel == "tanimoto" else support.mean(dim=0)
        self._column_means = self._similarities(support).mean(dim=0)  # (k,)

    @classmethod
    def fit(cls, x: Tensor, kernel: str = "linear", bandwidth: float | None = None, *, whiten: float = 0.0) -> Self:
        """Features of the support set x (k, d_in).

        Args:
            x: embeddings, k >= 2 of them, not all the same.
            kernel: one of KERNELS.
            bandwidth: in median distances between different support samples (None: 1).
            whiten: each component is divided by this power of its spread over the support; 1 makes them all alike, and
                phi(x) . phi(x_j) is k_c(x, x_j) for 0 only.

        Raises:
            InputError: an unknown kernel, a bandwidth that is not positive, whitening outside 0 to 1, or a support that
                cannot be told apart.
        """
        known = _known(kernel)
        factor = 1.0 if bandwidth is None else bandwidth
        if not 0 < factor < float("inf"):
            raise InputError("bandwidth of the kernel", got=bandwidth, expected="a positive multiple of the median")
        if not 0 <= whiten <= 1:
            raise InputError("whitening of the similarities", got=whiten, expected="0 (none) to 1")
        support = samples_in_float64(x)
        distances = torch.pdist(support)
        if not (distances > 0).any():
            raise InputError(
                "the embeddings of the support set are all the same",
                got=f"{len(support)} equal rows",
                do="check the encoder and the samples",
            )
        unfitted = cls(support, torch.eye(len(support)).to(support), known, factor * _median(distances))
        values, vectors = torch.linalg.eigh(unfitted._centred(support))
        # eigh sorts upwards; what lies below the cut is rounding, and dividing by it would be noise.
        kept = (values > 1e-10 * values[-1]).nonzero().flatten().flip(0)
        if not len(kept):
            raise InputError(f"the {kernel} kernel cannot tell the support samples apart", do="use another kernel")
        vectors = vectors[:, kept] * signs(vectors[:, kept])
        spread = values[kept].sqrt()
        return cls(support, vectors / (spread * (spread / spread.mean()) ** whiten), known, unfitted.bandwidth)

    def _map(self, x: Tensor) -> Tensor:
        rows = x.reshape(-1, self.d_in).double()
        features = self._centred(rows) @ self.basis.to(x.device)
        return features.to(x.dtype).reshape(*x.shape[:-1], self.d_out)

    def _centred(self, x: Tensor) -> Tensor:
        """k_c(x, x_j): (n, d_in) -> (n, k)."""
        similarities, column_means = self._similarities(x), self._column_means.to(x.device)
        return similarities - similarities.mean(dim=1, keepdim=True) - column_means + column_means.mean()

    def _similarities(self, x: Tensor) -> Tensor:
        """k(x, x_j), not centred: (n, d_in) -> (n, k)."""
        origin = self._origin.to(x.device)
        x, support = x - origin, self.support.to(x.device) - origin
        if self.kernel in ("rbf", "laplace"):
            # Through x.x + y.y - 2 x.y, near samples would lose half of their digits.
            r = torch.cdist(x, support, compute_mode="donot_use_mm_for_euclid_dist") / self.bandwidth
            return torch.exp(-r.square() / 2 if self.kernel == "rbf" else -r)
        inner = x @ support.T
        if self.kernel == "linear":
            return inner
        union = x.square().sum(dim=1, keepdim=True) + support.square().sum(dim=1) - inner
        return torch.where(union > 0, inner / union.clamp_min(torch.finfo(union.dtype).tiny), 1.0)  # 1: both are zero

    def tensors(self) -> dict[str, Tensor]:
        return {"support": self.support, "basis": self.basis}

    def settings(self) -> dict[str, Any]:
        constants = {"support": len(self.support), "kernel": self.kernel, "bandwidth": self.bandwidth}
        return super().settings() | constants

    @classmethod
    def shapes(cls, settings: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
        k = positive(settings, "support")
        return {"support": (k, positive(settings, "d_in")), "basis": (k, positive(settings, "d_out"))}

    @classmethod
    def _restored(cls, settings: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Self:
        bandwidth, kernel = settings.get("bandwidth"), settings.get("kernel")
        if not isinstance(bandwidth, float | int) or not 0 < bandwidth < float("inf"):
            raise ArtifactError("alignment setting 'bandwidth'", got=bandwidth, expected="a positive number")
        if kernel not in KERNELS:
            raise ArtifactError("alignment setting 'kernel'", got=kernel, expected=", ".join(KERNELS))
        return cls(tensors["support"].double(), tensors["basis"].double(), kernel, float(bandwidth))


def _known(kernel: str) -> Kernel:
    for known in KERNELS:
        if kernel == known:
            return known
    raise InputError("unknown kernel", got=kernel, expected=", ".join(KERNELS))


def _median(distances: Tensor) -> float:
    """Median of the distances above zero: with many equal samples the plain median would be zero."""
    return float(distances[distances > 0].median())
