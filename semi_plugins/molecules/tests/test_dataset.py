"""The data set, on a few dozen substances and, where the asset is present, whole."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from semi_plugin_molecules import dataset
from semi_plugin_molecules.assets import CHEMICALS
from semi_plugin_molecules.dataset import Molecule, MoleculesDataset, balanced, read_molecules
from semi_plugin_molecules.facts import facts_of
from semi_plugin_molecules.phases import state_at_room_temperature
from semi_plugin_molecules.smiles import read_smiles
from semi_plugin_molecules.splits import SHARES, framework

from semi.errors import InputError


@pytest.mark.parametrize(
    ("melting", "boiling", "state"),
    [
        ([278.7], [353.2], "liquid"),  # benzene
        ([353.4, 353.0], [], "solid"),  # naphthalene
        ([135.1], [272.7], "gas"),  # butane
        ([], [272.7], "gas"),
        ([159.1], [], None),
        ([], [351.4], None),
        ([], [], None),
        ([290.0, 300.0], [400.0], None),  # tables that contradict each other
        ([350.0], [250.0], None),
    ],
)
def test_state_at_room_temperature(melting: list[float], boiling: list[float], state: str | None) -> None:
    assert state_at_room_temperature(melting, boiling) == state


def test_only_fitting_molecules_are_read(tables: Path) -> None:
    found = {molecule.smiles: molecule for molecule in read_molecules(tables)}
    assert len(found) == 29
    assert found["CC(=O)Oc1ccccc1C(=O)O"].state == "solid"
    assert found["CCO"].state == "liquid"
    assert found["CCCC"].state == found["CC=O"].state == "gas"
    for absent in ("NC(N)=O", "CCO.CCOCC", "C[Si](C)(C)C", "CCl", "C=CBr"):
        assert absent not in found


def test_stereoisomers_are_one_molecule(tables: Path) -> None:
    name = tables / dataset.IDENTIFIERS[0]
    name.write_text("1\t71-36-3\tf\tm\tC[C@H](O)CC\tn\n2\t109-69-3\tf\tm\tC[C@@H](O)CC\tn\n", "utf-8")
    assert [m.smiles for m in read_molecules(tables)].count("CCC(C)O") == 1


def test_balance_takes_rare_cells_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset, "PER_FAMILY", 12)

    def esters(smiles: list[str], state: str) -> list[Molecule]:
        return [Molecule(s, facts_of(read_smiles(s)), state) for s in smiles]

    common = esters([f"CC(=O)O{'C' * n}c1ccccc1" for n in range(2, 40)], "solid")
    rare = esters(["COC=O", "CC(=O)OC", "CC(=O)OCC"], "liquid")
    chosen = balanced(common + rare)
    assert len(chosen) == 12
    assert set(rare) <= set(chosen)
    assert balanced(list(reversed(common + rare))) == chosen


def test_unknown_split_is_refused() -> None:
    with pytest.raises(InputError, match="'holdout'"):
        MoleculesDataset().pairs("holdout")


@pytest.mark.assets
@pytest.mark.skipif(not CHEMICALS.present(), reason="run: semi fetch chemicals")
def test_the_whole_data_set() -> None:
    splits = {split: MoleculesDataset().pairs(split) for split in SHARES}
    frameworks = {split: {framework(read_smiles(p.sample)) for p in pairs} for split, pairs in splits.items()}
    assert frameworks["train"].isdisjoint(frameworks["test"])
    assert frameworks["train"].isdisjoint(frameworks["validation"])
    assert frameworks["validation"].isdisjoint(frameworks["test"])

    pairs = [pair for split in splits.values() for pair in split]
    assert 4000 <= len(pairs) <= 5000
    assert len({pair.sample for pair in pairs}) == len(pairs)
    assert Counter(pair.caption for pair in pairs).most_common(1)[0][1] < 0.01 * len(pairs)
    for pair in pairs:
        assert all(value in pair.caption for value in pair.attributes.values())
        assert "." not in pair.sample
    for split in splits.values():
        families = Counter(pair.attributes["family"] for pair in split)
        assert set(families) == set(dataset.FAMILIES)
        assert max(families.values()) < 0.2 * len(split)
