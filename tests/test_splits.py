from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semi.errors import InputError
from semi.splits import SPLITS, groups_of, require_split, splits_by_hash

KEYS = st.lists(st.frozensets(st.sampled_from("abcdefghijkl"), min_size=1, max_size=3), min_size=1, max_size=12)
LINKS = st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11)), max_size=4)


@given(KEYS, LINKS)
def test_what_belongs_together_shares_a_split(keys: list[frozenset[str]], drawn: list[tuple[int, int]]) -> None:
    links = [(a % len(keys), b % len(keys)) for a, b in drawn]
    groups = groups_of(keys, links)
    found = splits_by_hash(groups, keys)
    for i, one in enumerate(keys):
        for j, other in enumerate(keys):
            if one & other or (i, j) in links:
                assert groups[i] == groups[j]
                assert found[i] == found[j]


@given(KEYS)
def test_nothing_else_is_put_together(keys: list[frozenset[str]]) -> None:
    groups = groups_of(keys)
    of_group: dict[int, set[str]] = {}
    for group, its_keys in zip(groups, keys, strict=True):
        of_group.setdefault(group, set()).update(its_keys)
    held = [key for its_keys in of_group.values() for key in its_keys]
    assert len(held) == len(set(held))  # two groups have no key in common


@given(KEYS, st.randoms(use_true_random=False))
def test_order_decides_nothing(keys: list[frozenset[str]], random: object) -> None:
    order = list(range(len(keys)))
    random.shuffle(order)  # type: ignore[attr-defined]
    shuffled = [keys[i] for i in order]
    straight = splits_by_hash(groups_of(keys), keys)
    assert splits_by_hash(groups_of(shuffled), shuffled) == [straight[i] for i in order]


def test_about_a_tenth_each_is_held_out() -> None:
    keys = [{str(i)} for i in range(5000)]
    sizes = Counter(splits_by_hash(groups_of(keys), keys))
    assert set(sizes) == set(SPLITS)
    assert all(400 < sizes[split] < 600 for split in ("validation", "test"))


@given(st.text(max_size=12))
def test_only_the_three_splits_are_known(name: str) -> None:
    if name in SPLITS:
        require_split("birds", name)
        return
    with pytest.raises(InputError, match="the data set birds has no such split") as error:
        require_split("birds", name)
    assert "train, validation, test" in str(error.value)
