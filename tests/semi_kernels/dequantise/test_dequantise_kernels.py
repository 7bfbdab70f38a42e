"""The kernels, interpreted: decoding bit for bit, merging to the numerical standard."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from semi_kernels.dequantise import dequantise, launch, reference
from semi_kernels.weights import NF4Weight, Q4Weight, flatten
from tests.semi_kernels.numerics import DTYPES, assert_close_to_float64, guarded, strided, transposed

LAYOUTS = ["nf4", "nf4_nested", "q4_1"]
SHAPES = {
    "nf4": [(1, 1), (3, 5), (2, 64), (5, 100), (33, 65), (130, 192)],
    "nf4_nested": [(1, 1), (3, 5), (5, 100), (130, 192), (300, 129)],
    "q4_1": [(1, 32), (5, 96), (130, 192)],
    "dense": [(1, 1), (5, 100), (70, 129)],
}


@pytest.fixture(autouse=True)
def _triton(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Kernels only; what they leave unwritten is NaN."""
    pytest.importorskip("triton")
    monkeypatch.setenv("SEMI_KERNELS", "triton")
    torch.use_deterministic_algorithms(True)  # fills torch.empty
    yield
    torch.use_deterministic_algorithms(False)


def random(n: int, k: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    return torch.randn(n, k, generator=torch.Generator().manual_seed(seed)).mul_(0.02).to(dtype)


def packed(layout: str, n: int, k: int, dtype: torch.dtype = torch.float32) -> NF4Weight | Q4Weight:
    """Behind and before each part lies what must not be read."""
    if layout == "q4_1":
        affine = Q4Weight.from_float(random(n, k, dtype))
        return Q4Weight.from_tensors([guarded(part) for part in affine.tensors()], (n, k), dtype)
    weight = NF4Weight.from_float(random(n, k, dtype), nested=layout == "nf4_nested")
    return NF4Weight.from_tensors([guarded(part) for part in weight.tensors()], (n, k), dtype)


CASES = [(layout, shape) for layout in LAYOUTS for shape in SHAPES[layout]]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("layout", "shape"), CASES, ids=str)
def test_decoding_is_bit_equal_to_the_reference(layout: str, shape: tuple[int, int], dtype: torch.dtype) -> None:
    weight = packed(layout, *shape)
    as_bits = torch.int32 if dtype == torch.float32 else torch.int16
    assert torch.equal(dequantise(weight, dtype=dtype).view(as_bits), weight.dequantize(dtype).view(as_bits))


MERGED = [(layout, shape, r) for layout in [*LAYOUTS, "dense"] for shape in SHAPES[layout][1:] for r in (1, 7, 32)]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("layout", "shape", "r"), MERGED, ids=str)
def test_merging_is_as_close_as_the_dtype_allows(
    layout: str, shape: tuple[int, int], r: int, dtype: torch.dtype
) -> None:
    n, k = shape
    weight = random(n, k, dtype) if layout == "dense" else packed(layout, n, k, dtype)
    A, B = random(k, r, dtype, seed=1), random(r, n, dtype, seed=2)
    got = dequantise(weight, guarded(A), guarded(B), scale=1.5)
    W = weight if isinstance(weight, Tensor) else weight.dequantize(torch.float32)
    eager = W.to(dtype) + 1.5 * (A @ B).T
    assert_close_to_float64(got, W.double() + 1.5 * (A.double() @ B.double()).T, eager)


@pytest.mark.parametrize("r", [0, 64, 100, 128])
def test_any_rank_strides_and_mixed_dtypes(r: int) -> None:
    weight = packed("nf4_nested", 70, 128, torch.bfloat16)
    A, B = random(128, r, torch.bfloat16, seed=1), random(r, 70, seed=2)
    product = (A.double() @ B.double()).T
    W = weight.dequantize(torch.float32)
    got = dequantise(weight, strided(A) if r else A, transposed(B), scale=-2.0)
    eager = (W - 2 * (A.float() @ B).T).bfloat16()
    assert_close_to_float64(got, W.double() - 2 * product, eager)


def test_strided_dense_weights() -> None:
    W, A, B = random(33, 70), random(70, 4, seed=1), random(4, 33, seed=2)
    for form in (strided(W), transposed(W)):
        assert_close_to_float64(dequantise(form, A, B), W.double() + (A.double() @ B.double()).T, W + (A @ B).T)


@pytest.mark.parametrize("layout", [*LAYOUTS, "dense"])
def test_twenty_runs_are_equal(layout: str) -> None:
    weight = random(17, 96) if layout == "dense" else packed(layout, 17, 96)
    A, B = random(96, 8, seed=1), random(8, 17, seed=2)
    first = dequantise(weight, A, B, dtype=torch.bfloat16)
    assert all(torch.equal(dequantise(weight, A, B, dtype=torch.bfloat16), first) for _ in range(19))


def test_the_tiles_have_ends_everywhere() -> None:
    """Larger than a tile in both directions, and than a program of blocks; neither divides them."""
    weight = packed("nf4_nested", 67, 64 * 3)
    assert weight.shape[0] > launch.tile("nf4", 64)["BN"]
    parts, layout, n, k = flatten(weight)
    A, B = random(k, 3, seed=1), random(3, n, seed=2)
    expected = reference.dequantise(parts, layout, n, k, A, B, 1.0, torch.float32)
    torch.testing.assert_close(dequantise(weight, A, B), expected, rtol=0, atol=1e-6)
