"""NF4Weight against bitsandbytes, bit for bit, and what it refuses."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from semi_kernels.weights import NF4Weight, flatten, unflatten
from semi_kernels.weights.nf4 import LEVELS, dynamic_code

SHAPES = [
    (1, 3),
    (3, 5),
    (7, 9),
    (1, 64),
    (64, 64),
    (33, 65),
    (7, 100),
    (5, 13),
    (257, 259),
    (640, 27),
    (512, 320),
    (9, 48),
]
DTYPES = [torch.float32, torch.float16, torch.bfloat16]


@pytest.fixture(scope="module", name="F")
def bitsandbytes_functional() -> Iterator[Any]:
    """bitsandbytes' eager arithmetic: it compiles its generic decoder, again for every shape."""
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    functional = pytest.importorskip("bitsandbytes.functional")
    with torch.compiler.set_stance("force_eager"):
        yield functional


def random(n: int, k: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    return torch.randn(n, k, generator=torch.Generator().manual_seed(seed)).mul_(0.02).to(dtype)


def decoded(functional: Any, packed: Tensor, state: Any) -> Tensor:
    """(N, K) as bitsandbytes decodes it.

    Its native CPU kernel (0.50.2, AVX-512) takes a block's scale by the row where K is a multiple of 16 but not of 64,
    and so loses up to twice the largest entry of blocks that straddle rows. There, its generic backend is right.
    """
    if state.shape[1] % 16 or state.shape[1] % 64 == 0:
        whole: Tensor = functional.dequantize_4bit(packed, state)
        return whole.reshape(state.shape)  # a packed weight of one byte is taken for a transposed one
    generic: Any = pytest.importorskip("bitsandbytes.backends.default.ops")
    scales = state.absmax
    if state.nested:
        scales = functional.dequantize_blockwise(scales, state.state2) + state.offset
    right: Tensor = generic._dequantize_4bit_compute(packed.view(-1), scales, state.code, 64, state.shape, state.dtype)
    return right


def bits(x: Tensor) -> Tensor:
    return x.contiguous().view(torch.int32 if x.element_size() == 4 else torch.int16)


@pytest.mark.parametrize("nested", [False, True], ids=["plain", "nested"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_decoding_and_quantising_equal_bitsandbytes_bit_for_bit(
    F: Any, shape: tuple[int, int], dtype: torch.dtype, nested: bool
) -> None:
    weight = random(*shape, dtype)
    packed, state = F.quantize_4bit(weight, compress_statistics=nested, quant_type="nf4")
    theirs = decoded(F, packed, state)
    adopted = NF4Weight.from_bitsandbytes(packed, state)
    assert adopted.dtype == dtype
    assert adopted.nested is nested
    assert torch.equal(bits(adopted.dequantize()), bits(theirs))
    for ours, its in zip(NF4Weight.from_float(weight, nested).tensors(), adopted.tensors(), strict=True):
        assert torch.equal(ours, its)


@settings(max_examples=30)
@given(n=st.integers(1, 40), k=st.integers(1, 200), seed=st.integers(0, 99), tie=st.booleans(), zero=st.booleans())
def test_any_shape_and_ties_and_blocks_of_zeros(n: int, k: int, seed: int, tie: bool, zero: bool) -> None:
    F = pytest.importorskip("bitsandbytes.functional")
    weight = random(n, k, seed=seed)
    if tie:
        levels = torch.tensor(LEVELS)
        middles = torch.cat([(levels[1:] + levels[:-1]) / 2, levels])
        weight = middles[torch.randint(len(middles), (n, k), generator=torch.Generator().manual_seed(seed))]
    if zero:
        weight.view(-1)[: 64 * (n * k // 128)] = 0
    with torch.compiler.set_stance("force_eager"):
        packed, state = F.quantize_4bit(weight, compress_statistics=seed % 2 == 0, quant_type="nf4")
        theirs = decoded(F, packed, state)
    ours = NF4Weight.from_float(weight, nested=seed % 2 == 0)
    assert torch.equal(ours.packed, packed.view(-1))
    assert torch.equal(ours.absmax, state.absmax)
    assert torch.equal(bits(ours.dequantize()), bits(theirs))


def test_its_8_bit_code_is_that_of_bitsandbytes(F: Any) -> None:
    assert torch.equal(dynamic_code(), F.create_dynamic_map())


@pytest.mark.parametrize("nested", [False, True], ids=["plain", "nested"])
@pytest.mark.parametrize("storage", [torch.uint8, torch.bfloat16, torch.float32], ids=str)
def test_what_a_fresh_linear4bit_holds_is_adopted_without_a_copy(F: Any, nested: bool, storage: torch.dtype) -> None:
    linear: Any = pytest.importorskip("bitsandbytes.nn").Linear4bit
    layer = linear(64, 32, bias=False, quant_type="nf4", compress_statistics=nested, quant_storage=storage)
    layer.weight.data.copy_(random(32, 64))
    layer = layer.to("cpu")
    weight = NF4Weight.from_bitsandbytes(layer.weight.data, layer.weight.quant_state)
    assert torch.equal(weight.dequantize(), F.dequantize_4bit(layer.weight.data, layer.weight.quant_state))
    assert weight.packed.data_ptr() == layer.weight.data.data_ptr()


def test_a_saved_quant_state_is_adopted(F: Any) -> None:
    weight = random(20, 64)
    packed, state = F.quantize_4bit(weight, compress_statistics=True, quant_type="nf4")
    again = F.QuantState.from_dict(state.as_dict(packed=True), device=torch.device("cpu"))
    ours = NF4Weight.from_bitsandbytes(packed, again).dequantize()
    assert torch.equal(ours, F.dequantize_4bit(packed, state))


def test_a_weight_repacked_for_bitsandbytes_cpu_kernel_is_refused(F: Any) -> None:
    packed, state = F.quantize_4bit(random(32, 64), compress_statistics=True, quant_type="nf4")
    packed, state = F._convert_weight_packed_for_cpu(packed, copy.copy(state))
    with pytest.raises(ValueError, match=r"repacked.*expected.*before the layer's first forward"):
        NF4Weight.from_bitsandbytes(packed, state)


def state(**changes: Any) -> SimpleNamespace:
    """What a QuantState holds, for (4, 64)."""
    held = {"quant_type": "nf4", "blocksize": 64, "code": torch.tensor(LEVELS), "shape": (4, 64), "nested": False}
    return SimpleNamespace(**(held | {"absmax": torch.ones(4), "dtype": torch.float32} | changes))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"blocksize": 128}, "got nf4 in blocks of 128, expected nf4 in blocks of 64"),
        ({"quant_type": "fp4"}, "got fp4 in blocks of 64, expected nf4 in blocks of 64"),
        ({"code": torch.zeros(16)}, r"got levels \[0.0, .*expected NF4's"),
        ({"shape": (4, 4, 16)}, r"got shape \(4, 4, 16\), expected \(N, K\)"),
        ({"shape": (4, 63)}, r"got packed of shape \(128,\), expected \(126,\): shape \(4, 63\) has 252 entries"),
        ({"absmax": torch.tensor([1.0, float("nan"), 1.0, 1.0])}, "got 1 non-finite of 4 values in absmax"),
        ({"absmax": torch.ones(3)}, r"got absmax of shape \(3,\), expected \(4,\)"),
        ({"nested": True, "state2": SimpleNamespace(blocksize=64)}, "got nested blocks of 64, expected 256"),
    ],
)
def test_other_quantisations_are_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        NF4Weight.from_bitsandbytes(torch.zeros(128, 1, dtype=torch.uint8), state(**changes))


def test_a_missing_quant_state_is_refused() -> None:
    with pytest.raises(ValueError, match="got no quant_state, expected a QuantState"):
        NF4Weight.from_bitsandbytes(torch.zeros(128, 1, dtype=torch.uint8), None)


def test_a_layout_that_does_not_fit_is_refused() -> None:
    good = NF4Weight.from_float(random(4, 64))
    packed, absmax, code, absmax2, offset = good.tensors()
    with pytest.raises(ValueError, match=r"got packed of shape \(127,\), expected \(128,\)"):
        NF4Weight((4, 64), packed[:-1], absmax, code, absmax2, offset)
    with pytest.raises(ValueError, match=r"got packed of shape \(128, 1\), expected \(128,\)"):
        NF4Weight((4, 64), packed[:, None], absmax, code, absmax2, offset)
    with pytest.raises(ValueError, match=r"got packed with stride \(2,\), expected \(1,\)"):
        NF4Weight((4, 64), packed.repeat(2)[::2], absmax, code, absmax2, offset)
    with pytest.raises(TypeError, match=r"got packed of torch.int32, expected torch.uint8"):
        NF4Weight((4, 64), packed.int(), absmax, code, absmax2, offset)
    with pytest.raises(TypeError, match=r"got absmax of torch.uint8, expected torch.float32"):
        NF4Weight((4, 64), packed, absmax)
    with pytest.raises(TypeError, match=r"got absmax of torch.float32, expected torch.uint8"):
        NF4Weight((4, 64), packed, absmax.float(), code, absmax2, offset)
    with pytest.raises(ValueError, match=r"got only \['code'\], expected code, absmax2 and offset"):
        NF4Weight((4, 64), packed, absmax, code)
    with pytest.raises(ValueError, match=r"got absmax2 of shape \(2,\), expected \(1,\): 4 scales, 256 each"):
        NF4Weight((4, 64), packed, absmax, code, torch.ones(2), offset)
    with pytest.raises(ValueError, match=r"got offset \(2,\) of torch.float32, expected one float32"):
        NF4Weight((4, 64), packed, absmax, code, absmax2, torch.ones(2))
    with pytest.raises(ValueError, match=r"got parts on \['cpu', 'meta'\], expected one device"):
        NF4Weight((4, 64), packed, absmax, code, absmax2, offset.to("meta"))
    with pytest.raises(ValueError, match="got 3 tensors, expected 2, or 5"):
        NF4Weight.from_tensors([packed, absmax, code], (4, 64), torch.float32)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_weight_that_is_not_finite_is_refused(bad: float) -> None:
    weight = random(4, 64)
    weight[1, 2] = bad
    with pytest.raises(ValueError, match="got 1 non-finite of 256 values in weight, expected none"):
        NF4Weight.from_float(weight)


def test_a_weight_of_another_shape_or_dtype_is_refused() -> None:
    with pytest.raises(ValueError, match=r"got shape \(4,\), expected \(N, K\)"):
        NF4Weight.from_float(torch.zeros(4))
    with pytest.raises(ValueError, match=r"got shape \(0, 4\), expected \(N, K\) with N, K >= 1"):
        NF4Weight.from_float(torch.zeros(0, 4))
    with pytest.raises(TypeError, match=r"got torch.float64, expected a tensor of float32"):
        NF4Weight.from_float(torch.zeros(4, 4, dtype=torch.float64))


@pytest.mark.parametrize("nested", [False, True], ids=["plain", "nested"])
def test_flat_form_and_back(nested: bool) -> None:
    weight = NF4Weight.from_float(random(5, 13, torch.bfloat16), nested)
    tensors, layout, n, k = flatten(weight)
    assert (layout, n, k) == ("nf4_nested" if nested else "nf4", 5, 13)
    again = unflatten(tensors, layout, n, k, torch.bfloat16)
    assert isinstance(again, NF4Weight)
    assert torch.equal(again.dequantize(), weight.dequantize())
    assert again.dequantize(torch.float32).dtype == torch.float32


def test_moves_and_counts_its_bytes() -> None:
    weight = NF4Weight.from_float(random(256, 256))
    assert weight.nbytes == 256 * 256 // 2 + 1024 + 256 * 4 + 4 * 4 + 4
    assert weight.to("meta").device.type == "meta"
