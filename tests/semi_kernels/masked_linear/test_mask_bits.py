"""Masks of one bit an entry."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from semi_kernels.masked_linear import pack_mask, unpack_mask


def test_entry_8i_plus_j_is_bit_j_of_byte_i() -> None:
    mask = torch.zeros(2, 9, dtype=torch.bool)
    mask[0, 0] = mask[0, 3] = mask[1, 0] = mask[1, 8] = True  # flat 0, 3, 9, 17
    assert pack_mask(mask).tolist() == [0b1001, 0b10, 0b10]


@given(st.lists(st.booleans(), max_size=70))
def test_unpacking_is_the_inverse(entries: list[bool]) -> None:
    mask = torch.tensor(entries, dtype=torch.bool)
    packed = pack_mask(mask)
    assert packed.dtype == torch.uint8
    assert packed.shape == ((len(entries) + 7) // 8,)
    assert torch.equal(unpack_mask(packed, mask.shape), mask)


def test_strided_masks_and_bits_behind_the_end() -> None:
    mask = torch.randn(7, 5, generator=torch.Generator().manual_seed(0)) > 0
    assert torch.equal(pack_mask(mask.T), pack_mask(mask.T.contiguous()))
    packed = pack_mask(mask)
    packed[-1] |= 0b11111000  # 35 entries: 3 bits of the last byte count
    assert torch.equal(unpack_mask(packed, (7, 5)), mask)


def test_other_dtypes_and_sizes_are_refused() -> None:
    with pytest.raises(TypeError, match=r"pack_mask: got torch.float32, expected torch.bool"):
        pack_mask(torch.ones(3))
    with pytest.raises(TypeError, match=r"got mask of torch.bool, expected torch.uint8; pack it with pack_mask"):
        unpack_mask(torch.ones(3, dtype=torch.bool), (3, 5))
    with pytest.raises(ValueError, match=r"got mask of shape \(3,\), expected \(2,\): 15 entries, eight a byte"):
        unpack_mask(torch.ones(3, dtype=torch.uint8), (3, 5))
