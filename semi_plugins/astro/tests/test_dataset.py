"""What photographs show, what is said of it, and how they are split."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from semi.errors import InputError
from semi.metrics import attribute_accuracy, vocabulary
from semi_plugin_image.grouped import MAX_BITS
from semi_plugin_image.pictures import difference_hash

from semi_plugin_astro.assets import NEBULAE, OPENNGC, STELLARIUM
from semi_plugin_astro.captions import KINDS, PHRASINGS, caption, facts_of
from semi_plugin_astro.catalogue import Catalogue, Field, Object, read_fields
from semi_plugin_astro.dataset import DeepSky, build, together
from semi_plugin_astro.photographs import open_photograph
from semi_plugin_astro.splits import SHARES, split_by_group

needs_data = pytest.mark.skipif(
    not (STELLARIUM.present() and OPENNGC.present()), reason="run: semi fetch deep-sky (249 MB)"
)


def test_fields_are_read_where_json_stumbles_and_across_zero_hours(nebulae: Path) -> None:
    fields = read_fields(nebulae / "textures.json")
    assert len(fields) == 9
    assert fields["n7822.png"].ra == pytest.approx(0.9, abs=0.05)
    assert fields["n7822.png"].distance(359.9, 67.1) == pytest.approx(0.389, abs=0.03)
    assert fields["n253-vasey.png"].radius == pytest.approx(0.42, abs=0.01)


def test_a_file_shows_what_it_is_named_after_if_that_lies_in_its_field(nebulae: Path, openngc: Path) -> None:
    catalogue, fields = Catalogue(openngc), read_fields(nebulae / "textures.json")
    shown = {file: catalogue.shown(file, field) for file, field in fields.items()}
    names = {file: item.name for file, item in shown.items() if item}
    assert names == {
        "n5139.png": "NGC5139",
        "n253-vasey.png": "NGC0253",
        "m57dumont.png": "NGC6720",
        "n3031.png": "NGC3031",
        "n3034.png": "NGC3034",
        "m102.png": "NGC5866",
        "n7822.png": "NGC7822",
    }


@pytest.mark.parametrize(
    ("item", "facts"),
    [
        (("G", "Sc", 20.0, 4.0, 8.0), "spiral galaxy; edge-on; large; bright"),
        (("G", "SABb", 6.0, 3.0, 9.0), "barred spiral galaxy; tilted; medium-sized; moderately bright"),
        (("G", "E-S0", 4.0, 3.9, 12.0), "lenticular galaxy; face-on; small; faint"),
        (("G", "E", 4.0, 3.9, None), "elliptical galaxy; round; small"),
        (("G", "SBm", None, None, 12.0), "irregular galaxy; faint"),
        (("G", "", None, None, None), "galaxy"),
        (("GCl", "", 10.0, None, 8.5), "globular cluster; large; moderately bright"),
        (("*", "", 10.0, None, 5.0), ""),
    ],
)
def test_facts(item: tuple[str, str, float | None, float | None, float | None], facts: str) -> None:
    kind, hubble, major, minor, magnitude = item
    assert "; ".join(facts_of(Object("x", kind, 0, 0, hubble, major, minor, magnitude)).values()) == facts


@given(
    st.text(max_size=12),
    st.sampled_from([*KINDS, "G"]),
    st.sampled_from(["", "E", "S0", "Sb", "SBc", "IB"]),
    st.floats(0.5, 90),
    st.one_of(st.none(), st.floats(0.1, 1)),
    st.one_of(st.none(), st.floats(2, 15)),
)
def test_every_slot_is_told_word_for_word(
    key: str, kind: str, hubble: str, major: float, ratio: float | None, magnitude: float | None
) -> None:
    facts = facts_of(Object("x", kind, 0, 0, hubble, major, ratio and major * ratio, magnitude))
    text, told = caption(key, facts)
    assert (text, told) == caption(key, facts)
    assert {"kind"} < set(told)
    assert set(told.items()) <= set(facts.items())
    assert attribute_accuracy([text], [told], vocabulary([told])) == 1.0
    assert 2 <= len(text.replace("medium-sized", "medium").split()) <= 12
    assert text == text.strip()
    assert "  " not in text
    assert " ," not in text


def test_phrasings_and_orders_vary() -> None:
    facts = {"kind": "spiral galaxy", "shape": "tilted", "size": "large", "brightness": "bright"}
    assert len({caption(str(key), facts)[0] for key in range(400)}) > 4 * len(PHRASINGS)


def test_neighbours_in_the_sky_stay_together(nebulae: Path) -> None:
    fields = read_fields(nebulae / "textures.json")
    names = {file: file for file in fields}
    numbers = dict(zip(fields, together(fields, names, nebulae), strict=True))
    assert numbers["n3031.png"] == numbers["n3034.png"]
    assert len(set(numbers.values())) == len(numbers) - 1


def test_two_photographs_of_one_object_stay_together(nebulae: Path) -> None:
    fields = {file: Field(40.0 * n, 0.0, 0.1) for n, file in enumerate(read_fields(nebulae / "textures.json"))}
    names = dict.fromkeys(fields, "other")
    names = {file: ("same" if file in ("n11.png", "lmc_01.png") else file) for file in names}
    numbers = dict(zip(fields, together(fields, names, nebulae), strict=True))
    assert numbers["n11.png"] == numbers["lmc_01.png"]
    assert len(set(numbers.values())) == len(numbers) - 1


@given(st.lists(st.tuples(st.integers(0, 30), st.sampled_from("abc")), max_size=200))
def test_a_group_is_in_one_split_whatever_the_order(items: list[tuple[int, str]]) -> None:
    def split(order: list[int]) -> dict[int, str]:
        names = [f"{i:03d}" for i in order]
        splits = split_by_group([items[i][0] for i in order], names, [items[i][1] for i in order])
        return dict(zip(order, splits, strict=True))

    forward = split(list(range(len(items))))
    assert len({(items[i][0], its_split) for i, its_split in forward.items()}) == len({group for group, _ in items})
    assert split(list(reversed(range(len(items))))) == forward


def test_shares_are_met_for_every_kind() -> None:
    numbers = list(range(1000))
    kinds = ["common" if n % 4 else "rare" for n in numbers]
    splits = split_by_group(numbers, [str(n) for n in numbers], kinds)
    for kind in ("common", "rare"):
        its = [split for split, k in zip(splits, kinds, strict=True) if k == kind]
        for name, share in SHARES.items():
            assert its.count(name) / len(its) == pytest.approx(share, abs=0.01)


def test_small_data_set_whole(nebulae: Path, openngc: Path) -> None:
    splits = build(nebulae, openngc)
    pairs = [pair for split in SHARES for pair in splits[split]]
    assert {pair.sample.name for pair in pairs} == {
        "n5139.png", "n253-vasey.png", "m57dumont.png", "n3031.png", "n3034.png", "m102.png", "n7822.png",
    }  # fmt: skip
    assert all(isinstance(pair.sample, Path) for pair in pairs)


def test_unknown_split_names_the_known() -> None:
    with pytest.raises(InputError, match="no such split") as error:
        DeepSky().pairs("dev")
    assert "validation" in str(error.value)


@pytest.mark.assets
@needs_data
def test_real_splits_share_no_sky_and_no_near_duplicate() -> None:
    fields = read_fields(STELLARIUM.path(NEBULAE) / "textures.json")
    by_split = {split: DeepSky().pairs(split) for split in SHARES}
    assert {split: len(pairs) for split, pairs in by_split.items()} == {"train": 320, "validation": 46, "test": 91}
    seen = defaultdict(list)
    for split, pairs in by_split.items():
        for pair in pairs:
            assert pair.attributes["kind"] in pair.caption
            hashed = difference_hash(open_photograph(pair.sample))
            seen[split].append((fields[pair.sample.name], hashed))
    for one in SHARES:
        for other in SHARES:
            if one < other:
                for field, hashed in seen[one]:
                    assert not any(field.overlaps(away) for away, _ in seen[other])
                    assert min((hashed ^ away).bit_count() for _, away in seen[other]) > MAX_BITS
