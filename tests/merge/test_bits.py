"""Bits come back as they were, the first in the lowest place."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semi.merge import bits


@given(st.lists(st.booleans()))
def test_bits_come_back(flags: list[bool]) -> None:
    data = bits.pack(np.array(flags, dtype=np.bool_))
    assert len(data) == bits.nbytes(len(flags))
    assert bits.unpack(data, len(flags)).tolist() == flags


@given(st.lists(st.booleans(), min_size=1))
def test_the_first_bit_is_the_lowest_and_the_rest_is_zero(flags: list[bool]) -> None:
    number = int.from_bytes(bits.pack(np.array(flags)), "little")
    assert number == sum(flag << place for place, flag in enumerate(flags))


@pytest.mark.parametrize("count", [0, 1, 2**16, 2**17 + 5])
@pytest.mark.parametrize("share", [0, 0.3, 1])
def test_the_selected_entries_are_those_of_numpy(count: int, share: float) -> None:
    draw = np.random.default_rng(count)
    array, flags = draw.random(count, dtype=np.float32), draw.random(count) < share
    assert np.array_equal(bits.select(array, flags), array[flags])
