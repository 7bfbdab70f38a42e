"""Captions, groups and splits of the picture data sets."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from semi.errors import InputError
from semi.splits import SPLITS, splits_by_hash

from semi_plugin_image import emoji, tuxpaint
from semi_plugin_image.assets import EMOJI, TUXPAINT
from semi_plugin_image.emoji import Emoji
from semi_plugin_image.grouped import MAX_BITS, PictureDataset, groups
from semi_plugin_image.pictures import difference_hash, open_picture
from semi_plugin_image.tuxpaint import TuxPaint

BOTH = [
    pytest.param(dataset, id=dataset.name, marks=pytest.mark.skipif(not asset.present(), reason="not fetched"))
    for dataset, asset in ((TuxPaint, TUXPAINT), (Emoji, EMOJI))
]


@pytest.mark.parametrize(
    ("line", "caption"),
    [
        ("A green fedora.", "a green fedora"),
        (
            "A Canadian dollar ($1.00) called a loonie. It\u2019s a bird.",
            "a canadian dollar called a loonie",
        ),
        ("Saturn—the second largest planet", "saturn"),
        ("A “Granny Smith” apple.", "a granny smith apple"),
        ("A ginger 'root'.", "a ginger root"),
        ("Grandma's old rag doll.", "grandma's old rag doll"),
        ("Hard candy—yum!", "hard candy"),
        ("\u2013 Because a brain is a terrible thing to waste…", ""),
        (" ".join(["word"] * 13), ""),
        ("", ""),
    ],
)
def test_tuxpaint_caption(line: str, caption: str) -> None:
    assert tuxpaint.clean(line) == caption


@pytest.mark.parametrize(
    ("name", "subcategory", "caption"),
    [
        ("ORANGE", "food-fruit", "orange, fruit"),
        ("Peru Flag", "country-flag", "flag of peru"),
        ("BLACK SCISSORS", "office", "scissors, office supply"),
        ("BLACK CAT", "animal-mammal", "black cat, mammal"),
        ("WHITE HEAVY CHECK MARK", "other-symbol", "check mark"),
        ("MAN: RED HAIR", "person", "man, red hair"),
        ("HEAVY", "math", "heavy"),
    ],
)
def test_emoji_caption(name: str, subcategory: str, caption: str) -> None:
    assert emoji.caption({"name": name, "subcategory": subcategory}) == caption


def test_one_role_is_one_motif() -> None:
    farmers = ("MAN FARMER", "WOMAN FARMER", "FARMER")
    keys = {emoji.group_keys({"name": name, "subcategory": "person-role"}) for name in farmers}
    assert len(keys) == 1
    assert emoji.group_keys({"name": "STUDENT", "subcategory": "person-role"}) not in keys


@given(
    st.lists(
        st.tuples(
            st.frozensets(st.sampled_from("abcdefghijklmnop"), min_size=1, max_size=3), st.integers(0, 2**64 - 1)
        ),
        max_size=12,
    ),
    st.randoms(use_true_random=False),
)
def test_what_shares_a_key_shares_a_split_in_any_order(pictures: list[tuple[frozenset[str], int]], rng) -> None:  # type: ignore[no-untyped-def]
    def split(order: list[int]) -> dict[int, str]:
        keys, hashes = [pictures[i][0] for i in order], [pictures[i][1] for i in order]
        return dict(zip(order, splits_by_hash(groups(keys, hashes), keys), strict=True))

    order = list(range(len(pictures)))
    splits = split(order)
    for first in order:
        for second in order:
            if pictures[first][0] & pictures[second][0]:
                assert splits[first] == splits[second]
    rng.shuffle(order)
    assert split(order) == splits


def test_near_hashes_are_one_group_and_far_ones_are_not() -> None:
    near, far = (1 << MAX_BITS) - 1, (1 << (MAX_BITS + 1)) - 1
    first, second, third = groups([["a"], ["b"], ["c"]], [0, near << 20, far << 40])
    assert first == second
    assert first != third


@pytest.mark.assets
@pytest.mark.parametrize("dataset", BOTH)
def test_splits_share_no_near_duplicates(dataset: type[PictureDataset]) -> None:
    by_split = {split: dataset().pairs(split) for split in SPLITS}
    total = sum(map(len, by_split.values()))
    assert total == {"tuxpaint": 621, "emoji": 1854}[dataset.name]
    assert 0.75 < len(by_split["train"]) / total < 0.85
    captions, hashes = defaultdict(set), {}
    for split, pairs in by_split.items():
        for pair in pairs:
            captions[pair.caption].add(split)
            assert pair.caption == pair.caption.lower().strip()
            assert isinstance(pair.sample, Path)  # so that hashes of pairs cover the picture
            assert pair.sample.is_file()
        hashes[split] = {difference_hash(open_picture(pair.sample)) for pair in pairs}
    assert all(len(splits) == 1 for splits in captions.values())
    for split in ("validation", "test"):
        assert min((one ^ other).bit_count() for one in hashes[split] for other in hashes["train"]) > MAX_BITS


@pytest.mark.parametrize("dataset", [TuxPaint, Emoji])
def test_unknown_split_names_the_known(dataset: type[PictureDataset]) -> None:
    with pytest.raises(InputError) as error:
        dataset().pairs("dev")
    assert "validation" in str(error.value)
