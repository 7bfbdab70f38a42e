"""Splits keep frameworks apart."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from semi_plugin_molecules.smiles import read_smiles
from semi_plugin_molecules.splits import SHARES, framework, split_by_group


def frameworks(*smiles: str) -> set[str]:
    return {framework(read_smiles(s)) for s in smiles}


def test_frameworks() -> None:
    assert frameworks("Cc1ccccc1", "Oc1ccccc1C(=O)O", "c1ccccc1") == {"c1ccccc1"}
    assert len(frameworks("CCCC", "CCCO", "CC=CN", "ClCCF")) == 1  # four in a row
    assert len(frameworks("CCCC", "CC(C)C", "CCCCC")) == 3  # branched; longer
    assert len(frameworks("FS(F)(F)(F)(F)F", "CCO")) == 2  # six bonds at one atom
    assert len(frameworks("C[C@H](O)F", "C[C@@H](O)F")) == 1
    assert frameworks("c1ccccc1").isdisjoint(frameworks("c1ccncc1", "C1CCCCC1"))


@given(st.lists(st.integers(0, 60).map(str), max_size=300))
def test_a_group_is_in_one_split(groups: list[str]) -> None:
    splits = split_by_group(groups)
    assert len(splits) == len(groups)
    assert len(set(zip(groups, splits, strict=True))) == len(set(groups))
    assert set(splits) <= set(SHARES)


@given(st.permutations([str(n % 40) for n in range(200)]))
def test_order_does_not_matter(groups: list[str]) -> None:
    ordered = sorted(groups)
    assert dict(zip(groups, split_by_group(groups), strict=True)) == dict(
        zip(ordered, split_by_group(ordered), strict=True)
    )


def test_shares_are_met_and_common_groups_are_trained_on() -> None:
    groups = ["common"] * 300 + [f"rare {n // 4}" for n in range(1700)]
    splits = split_by_group(groups)
    assert splits[0] == "train"
    for split, share in SHARES.items():
        assert abs(splits.count(split) / len(groups) - share) < 0.01
