"""Bits come back as they were, the first in the lowest place."""

from __future__ import annotations

import numpy as np
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
