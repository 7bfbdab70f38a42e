"""Q4Weight against the gguf package, bit for bit, and what it refuses."""

from __future__ import annotations

import gguf
import numpy as np
import pytest
import torch
from torch import Tensor

from semi_kernels.weights import Q4Weight, flatten, unflatten

Q4_1 = gguf.GGMLQuantizationType.Q4_1
SHAPES = [(1, 32), (3, 96), (7, 160), (64, 576), (33, 1536)]


def random(n: int, k: int, seed: int = 0) -> Tensor:
    return torch.randn(n, k, generator=torch.Generator().manual_seed(seed)).mul_(0.02)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_decoding_and_quantising_equal_gguf_bit_for_bit(shape: tuple[int, int]) -> None:
    weight = random(*shape)
    raw = gguf.quants.quantize(weight.numpy(), Q4_1)
    theirs = torch.from_numpy(gguf.quants.dequantize(raw, Q4_1))
    read = Q4Weight.from_gguf(raw, shape)
    assert torch.equal(read.dequantize().view(torch.int32), theirs.view(torch.int32))
    assert torch.equal(read.dequantize(torch.bfloat16), theirs.bfloat16())
    for ours, its in zip(Q4Weight.from_float(weight).tensors(), read.tensors(), strict=True):
        assert torch.equal(ours, its)


def test_any_bytes_decode_as_gguf_decodes_them() -> None:
    """Not only what a quantiser writes: negative scales, subnormal minima, every nibble."""
    generator = np.random.default_rng(0)
    raw = generator.integers(0, 256, (6, 5 * 20), dtype=np.uint8)
    raw.reshape(-1, 20)[:, [1, 3]] &= 0xBF  # below 2: float16 has no infinity without this bit
    theirs = torch.from_numpy(gguf.quants.dequantize(raw, Q4_1))
    for form in (raw, raw.tobytes(), torch.from_numpy(raw), memoryview(raw.tobytes())):
        assert torch.equal(Q4Weight.from_gguf(form, (6, 160)).dequantize(), theirs)


def test_constant_blocks_are_kept() -> None:
    weight = torch.zeros(2, 64)
    weight[1] = 0.25
    assert torch.equal(Q4Weight.from_float(weight).dequantize(), weight)


def test_what_does_not_fit_is_refused() -> None:
    good = Q4Weight.from_float(random(2, 64))
    packed, scale, minimum = good.tensors()
    with pytest.raises(ValueError, match=r"got shape \(2, 40\), expected K % 32 == 0"):
        Q4Weight.from_float(torch.zeros(2, 40))
    with pytest.raises(ValueError, match=r"got 79 bytes, expected 80 \(4 blocks of 20\) for shape \(2, 64\)"):
        Q4Weight.from_gguf(bytes(79), (2, 64))
    with pytest.raises(TypeError, match=r"got torch.float32, expected uint8"):
        Q4Weight.from_gguf(torch.zeros(80), (2, 64))
    with pytest.raises(ValueError, match=r"got packed of shape \(63,\), expected \(64,\): shape \(2, 64\) has 128"):
        Q4Weight((2, 64), packed[:-1], scale, minimum)
    with pytest.raises(ValueError, match=r"got minimum of shape \(3,\), expected \(4,\)"):
        Q4Weight((2, 64), packed, scale, minimum[:-1])
    with pytest.raises(TypeError, match=r"got scale of torch.float32, expected torch.float16"):
        Q4Weight((2, 64), packed, scale.float(), minimum)
    with pytest.raises(ValueError, match="got 2 tensors, expected packed, scale and minimum"):
        Q4Weight.from_tensors([packed, scale], (2, 64), torch.float32)
    with pytest.raises(ValueError, match="got 1 non-finite of 128 values in weight"):
        Q4Weight.from_float(torch.cat([torch.full((1, 1), float("nan")), torch.zeros(1, 127)], dim=1))
    with pytest.raises(ValueError, match="got 1 non-finite of 1 values in minimum as float16"):
        Q4Weight.from_float(torch.full((1, 32), -1e6))
    nan = np.frombuffer(np.float16("nan").tobytes() + bytes(18), dtype=np.uint8)
    with pytest.raises(ValueError, match="got 1 non-finite of 1 values in scale"):
        Q4Weight.from_gguf(nan.copy(), (1, 32))


def test_flat_form_and_back() -> None:
    weight = Q4Weight.from_float(random(3, 64))
    tensors, layout, n, k = flatten(weight)
    assert (layout, n, k) == ("q4_1", 3, 64)
    again = unflatten(tensors, layout, n, k, torch.float32)
    assert isinstance(again, Q4Weight)
    assert torch.equal(again.dequantize(), weight.dequantize())
    assert weight.nbytes == 3 * 64 // 2 + 2 * 2 * 6
    assert weight.to("meta").device.type == "meta"


def test_a_dense_weight_and_none_have_a_flat_form_too() -> None:
    dense = torch.zeros(3, 5)
    assert flatten(dense) == ([dense], "dense", 3, 5)
    assert unflatten([dense], "dense", 3, 5) is dense
    assert flatten(None) == ([], "none", 0, 0)
    assert unflatten([], "none", 0, 0) is None
    with pytest.raises(ValueError, match=r"got shape \(3,\), expected \(N, K\)"):
        flatten(torch.zeros(3))
    with pytest.raises(TypeError, match="got list, expected a tensor"):
        flatten([1.0])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="got layout 'q5', expected dense"):
        unflatten([], "q5", 1, 1)
