"""Numbers that the authors' modules produced on fixed weights (tests/data/parity), reproduced."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from semi.adapters import ProjectorAdapter
from semi.alignment import infinite_feature_selection
from semi.convert import load_reference_state
from semi.hypernetwork.base import HyperNetwork
from semi.projector import Projector

FOLDER = Path(__file__).parent / "data" / "parity"
CASES = sorted(path.stem for path in FOLDER.glob("hypernetwork_*.safetensors"))
CLOSE = 1e-5


def read(name: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    with safe_open(FOLDER / f"{name}.safetensors", "pt") as file:
        return {key: file.get_tensor(key) for key in file.keys()}, file.metadata()  # noqa: SIM118 (not a mapping)


def build(tensors: dict[str, Tensor], facts: dict[str, str], *, table: bool) -> tuple[Projector, HyperNetwork]:
    state = {key.removeprefix("state."): value for key, value in tensors.items() if key.startswith("state.")}
    if not table:
        del state["hypernet.pos_encs.pe"]
    return load_reference_state(
        state,
        rank=int(facts["rank"]),
        alpha=float(facts["alpha"]),
        n_tokens=int(facts["n_tokens"]),
        n_heads=int(facts["n_heads"]),
    )


def adapters(hypernetwork: HyperNetwork, tensors: dict[str, Tensor], facts: dict[str, str]) -> list[ProjectorAdapter]:
    return [
        hypernetwork(*(tensors[f"cond{i}.{part}"] for part in ("sample", "text", "instruction")))
        for i in range(int(facts["n_subsets"]))
    ]


def test_all_cases_are_there() -> None:
    assert [case.removeprefix("hypernetwork_") for case in CASES] == [
        "average_of_subsets",
        "full_context",
        "narrow_encoder",
        "short_context",
        "two_heads",
    ]


@pytest.mark.parametrize("table", [True, False], ids=["with_table", "without_table"])
@pytest.mark.parametrize("case", CASES)
def test_every_subset_gives_the_authors_adapter(case: str, table: bool) -> None:
    tensors, facts = read(case)
    _, hypernetwork = build(tensors, facts, table=table)
    for i, adapter in enumerate(adapters(hypernetwork, tensors, facts)):
        assert adapter.base == [True, True]
        found = adapter.tensors()
        assert sorted(found) == ["A0", "A1", "B0", "B1", "bias0", "bias1"]
        for name, value in found.items():
            torch.testing.assert_close(value, tensors[f"out{i}.{name}"], rtol=CLOSE, atol=CLOSE)


@pytest.mark.parametrize("case", CASES)
def test_the_mean_adapter_gives_the_authors_output_merged_and_unmerged(case: str) -> None:
    tensors, facts = read(case)
    projector, hypernetwork = build(tensors, facts, table=True)
    mean = ProjectorAdapter.mean(adapters(hypernetwork, tensors, facts))
    torch.testing.assert_close(projector.merge(mean)(tensors["x"]), tensors["merged.y"], rtol=CLOSE, atol=CLOSE)
    torch.testing.assert_close(projector(tensors["x"], mean), tensors["merged.y"], rtol=CLOSE, atol=CLOSE)


def test_the_adapter_matters_to_the_output() -> None:
    """So that the agreement above is not that of the bare projector."""
    tensors, facts = read("hypernetwork_full_context")
    projector, _ = build(tensors, facts, table=True)
    assert (projector(tensors["x"]) - tensors["merged.y"]).abs().max() > 0.01


def test_an_unsliced_projector_gives_the_narrow_case_too() -> None:
    """The shared projector at its full width, its first weight met by a narrower embedding."""
    tensors, facts = read("hypernetwork_narrow_encoder")
    tensors["state.projector.net.0.weight"] = tensors["pretrained.weight0"]
    projector, hypernetwork = build(tensors, facts, table=True)
    (adapter,) = adapters(hypernetwork, tensors, facts)
    torch.testing.assert_close(projector(tensors["x"], adapter), tensors["merged.y"], rtol=CLOSE, atol=CLOSE)
    torch.testing.assert_close(projector.merge(adapter)(tensors["x"]), tensors["merged.y"], rtol=CLOSE, atol=CLOSE)


def test_the_ranking_of_features_is_the_authors() -> None:
    tensors, facts = read("infinite_feature_selection")
    ranking, score = infinite_feature_selection(tensors["x"], float(facts["alpha"]))
    assert ranking.tolist() == tensors["ranked"].tolist()
    torch.testing.assert_close(score, tensors["score"], rtol=1e-10, atol=0)
