"""Haar.sample draws from the Haar measure: marginals and eigenvalue angles against theory and against scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

from semi_kernels.isometry import Haar, SignedPermutation
from semi_kernels.isometry.haar import BLOCK

D, DRAWS = 6, 4000
LEVEL = 1e-3  # the seeds are fixed: a p-value below this means a wrong distribution, not bad luck


@pytest.fixture(scope="module")
def ours() -> np.ndarray:
    generator = torch.Generator().manual_seed(0)
    return np.stack([Haar.sample(D, generator=generator, dtype=torch.float64).matrix().numpy() for _ in range(DRAWS)])


@pytest.fixture(scope="module")
def scipys() -> np.ndarray:
    return np.asarray(stats.ortho_group.rvs(D, size=DRAWS, random_state=1))


def angles(matrices: np.ndarray) -> np.ndarray:
    """Angles of the complex eigenvalues of the upper half plane (real ones, +-1, are the determinant's business)."""
    values = np.linalg.eigvals(matrices).ravel()
    return np.angle(values[values.imag > 1e-9])


@pytest.mark.parametrize(("row", "column"), [(0, 0), (0, 5), (3, 3), (5, 0), (5, 5)])
def test_entries_are_coordinates_of_a_uniform_unit_vector(ours: np.ndarray, row: int, column: int) -> None:
    """(x + 1) / 2 ~ Beta((d-1)/2, (d-1)/2). Without the sign fix, entries of the first column have one sign."""
    marginal = stats.beta((D - 1) / 2, (D - 1) / 2, loc=-1, scale=2)
    assert stats.kstest(ours[:, row, column], marginal.cdf).pvalue > LEVEL


def test_entries_are_distributed_alike_in_all_blocks_of_reflections() -> None:
    """A width of more than one block: corners, and both sides of the seam."""
    d, draws = BLOCK + 6, 400
    generator = torch.Generator().manual_seed(3)
    matrices = np.stack([Haar.sample(d, generator=generator).matrix().numpy() for _ in range(draws)])
    marginal = stats.beta((d - 1) / 2, (d - 1) / 2, loc=-1, scale=2)
    for row, column in ((0, 0), (BLOCK - 1, BLOCK - 1), (BLOCK, BLOCK), (BLOCK - 1, BLOCK), (d - 1, d - 1), (d - 1, 0)):
        assert stats.kstest(matrices[:, row, column], marginal.cdf).pvalue > LEVEL
    trace = np.trace(matrices, axis1=1, axis2=2)
    assert stats.kstest(trace, stats.norm.cdf).pvalue > LEVEL  # Diaconis and Shahshahani 1994: N(0, 1) for large d


def test_joint_moments_are_those_of_the_haar_measure(ours: np.ndarray) -> None:
    """Weingarten calculus: E x_ij^2 = 1/d, E x_11^2 x_22^2 = (d+1) / ((d-1) d (d+2)), E tr = 0, E tr^2 = 1."""
    trace = np.trace(ours, axis1=1, axis2=2)
    product = (ours[:, 0, 0] * ours[:, 1, 1]) ** 2
    for observed, expected in (
        (ours[:, 2, 4] ** 2, 1 / D),
        (product, (D + 1) / ((D - 1) * D * (D + 2))),
        (trace, 0.0),
        (trace**2, 1.0),
    ):
        assert abs(observed.mean() - expected) < 4 * observed.std() / math.sqrt(DRAWS)


def test_eigenvalue_angles_match_scipys(ours: np.ndarray, scipys: np.ndarray) -> None:
    assert stats.ks_2samp(angles(ours), angles(scipys)).pvalue > LEVEL
    assert stats.ks_2samp(np.trace(ours, axis1=1, axis2=2), np.trace(scipys, axis1=1, axis2=2)).pvalue > LEVEL


def test_both_signs_of_the_determinant_are_equally_likely(ours: np.ndarray) -> None:
    positive = int((np.linalg.det(ours) > 0).sum())
    assert stats.binomtest(positive, DRAWS).pvalue > LEVEL


def test_signed_permutations_are_uniform() -> None:
    """All 2^2 2! = 8 signed permutations of the plane, equally often."""
    generator = torch.Generator().manual_seed(0)
    seen = [tuple(SignedPermutation.sample(2, generator=generator).matrix().flatten().tolist()) for _ in range(2000)]
    _, counts = np.unique(np.array(seen), axis=0, return_counts=True)
    assert len(counts) == 8
    assert stats.chisquare(counts).pvalue > LEVEL
