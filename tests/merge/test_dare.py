from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from semi.errors import InputError
from semi.merge.dare import keep_at_random

GOLDEN = 0x9E3779B97F4A7C15


def splitmix64(state: int) -> int:
    """One number, in whole numbers of any size."""
    z = state
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) % 2**64
    return z ^ (z >> 31)


def test_the_hash_is_splitmix64(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seed 1234567 gives 6457827717110365317 first (Rosetta Code's test vector); the stream's name is hashed to it."""

    class Named:
        def __init__(self, name: bytes, digest_size: int) -> None:
            self.name, self.size = name, digest_size

        def digest(self) -> bytes:
            return (1234567).to_bytes(self.size, "little")

    monkeypatch.setattr("semi.merge.dare.blake2b", Named)
    numbers = [splitmix64((1234567 + (i + 1) * GOLDEN) % 2**64) for i in range(1000)]
    assert numbers[0] == 6457827717110365317
    for share in (0.1, 0.5, 0.9):
        expected = [(number >> 11) < round(share * 2**53) for number in numbers]
        assert keep_at_random(share, 0, "m", "k", 0, 1000).tolist() == expected


@settings(max_examples=30)
@given(start=st.integers(0, 2**40), cuts=st.lists(st.integers(0, 70_000), max_size=3), seed=st.integers(-5, 5))
def test_blocks_change_nothing(start: int, cuts: list[int], seed: int) -> None:
    whole = keep_at_random(0.3, seed, "vision", "w", start, 70_000)
    ends = [0, *sorted(cuts), 70_000]
    parts = [keep_at_random(0.3, seed, "vision", "w", start + i, j - i) for i, j in pairwise(ends)]
    assert torch.equal(torch.cat(parts), whole)


def test_seeds_models_keys_and_positions_are_independent() -> None:
    names = [(0, "a", "w"), (1, "a", "w"), (0, "b", "w"), (0, "a", "v"), (0, "aw", "")]
    kept = torch.stack([keep_at_random(0.5, *name, 0, 40_000) for name in names]).double()
    assert ((kept.mean(1) - 0.5).abs() < 0.0125).all()  # five standard deviations
    assert ((kept @ kept.T / 40_000 - 0.25 - 0.25 * torch.eye(len(names))).abs() < 0.015).all()
    assert abs(float((kept[0, 1:] * kept[0, :-1]).mean()) - 0.25) < 0.0125


@pytest.mark.parametrize("share", [0.0, 0.01, 0.2, 0.9, 1.0])
def test_the_share_is_kept(share: float) -> None:
    kept = keep_at_random(share, 3, "m", "k", 7, 100_000)
    assert abs(float(kept.double().mean()) - share) <= 5 * (share * (1 - share) / 100_000) ** 0.5


def test_more_is_kept_of_what_is_kept() -> None:
    few, many = (keep_at_random(share, 3, "m", "k", 0, 10_000) for share in (0.2, 0.4))
    assert (many | ~few).all()


@pytest.mark.parametrize("share", [-0.1, 1.5])
def test_a_share_out_of_range_is_refused(share: float) -> None:
    with pytest.raises(InputError, match="out of range"):
        keep_at_random(share, 0, "m", "k", 0, 1)
