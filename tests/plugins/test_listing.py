"""Listing reads metadata only, and no distribution can break it."""

from __future__ import annotations

import sys

import pytest

from semi.plugins import PluginInfo, list_plugins


def listed(name: str) -> list[PluginInfo]:
    return [plugin for plugin in list_plugins() if plugin.name == name]


def test_vectors_is_built_in():
    (vectors,) = listed("vectors")
    assert (vectors.kind, vectors.distribution, vectors.state) == ("modality", "semi-llm", "available")


@pytest.mark.parametrize(
    ("group", "kind"), [("modalities", "modality"), ("datasets", "dataset"), ("foundations", "foundation")]
)
def test_an_offer_is_listed_without_importing_it(install, group, kind):
    install("fake-thing", kind=group, code="raise RuntimeError('imported')")
    (thing,) = listed("thing")
    assert (thing.kind, thing.distribution, thing.version) == (kind, "fake-thing", "1.0")
    assert (thing.state, thing.cause, thing.fix) == ("available", None, None)
    assert "fake_thing" not in sys.modules


@pytest.mark.parametrize(
    ("requirement", "state"),
    [
        ("semi-llm>=0.1", "available"),
        ("semi-llm>=99", "incompatible"),
        ("Semi_LLM>=99", "incompatible"),
        ("semi-llm<0.1", "incompatible"),
        ("semi-llm>=99; python_version < '3'", "available"),
        ("semi-llm>=99; extra == 'new'", "available"),
        ("numpy>=99", "available"),
        ("semi-llm>>99", "failed"),
    ],
)
def test_requirements_on_the_core_decide_the_state(install, requirement, state):
    install("fake-thing", requires=[requirement])
    (thing,) = listed("thing")
    assert thing.state == state
    assert (thing.cause is None) == (thing.fix is None) == (state == "available")


def test_two_distributions_with_one_name_clash(install):
    install("fake-thing")
    install("other-thing", version="2.0")
    offers = listed("thing")
    assert [offer.distribution for offer in offers] == ["fake-thing", "other-thing"]
    for offer in offers:
        assert offer.state == "clash"
        assert "fake-thing 1.0" in offer.cause
        assert "other-thing 2.0" in offer.cause
        assert "pip uninstall" in offer.fix


def test_one_name_for_two_kinds_is_no_clash(install):
    install("fake-thing")
    install("fake-things", kind="datasets")
    assert {offer.state for offer in listed("thing")} == {"available"}


def test_taking_the_name_of_the_built_in_modality_clashes(install):
    install("fake-vectors", offers=["vectors"])
    assert {offer.state for offer in listed("vectors")} == {"clash"}


@pytest.mark.parametrize("value", ["not a module", "a:b:c", ""])
def test_a_damaged_entry_point_is_listed_as_failed(install, value):
    install("fake-thing", entry_points=f"[semi.modalities]\nthing = {value}\n")
    (thing,) = listed("thing")
    assert thing.state == "failed"
    assert "fake-thing" in thing.fix


@pytest.mark.parametrize("text", ["[semi.modalities]\nthing\n", "[semi.modalities\nthing = x\n"])
def test_entry_points_that_cannot_be_parsed_do_not_break_the_list(install, text):
    install("fake-thing", entry_points=text)
    install("other-thing", offers=["other"])
    assert listed("other")[0].state == "available"
    assert {plugin.state for plugin in list_plugins() if plugin.distribution == "fake-thing"} <= {"failed"}


def test_a_distribution_without_metadata_does_not_break_the_list(install):
    (install("fake-thing").parent / "fake_thing-1.0.dist-info" / "METADATA").unlink()
    install("other-thing", offers=["other"])
    assert listed("other")[0].state == "available"


def test_the_copy_that_python_imports_is_the_one_listed(install, tmp_path_factory, monkeypatch):
    install("fake-thing", version="1.0")
    front = tmp_path_factory.mktemp("front")
    monkeypatch.syspath_prepend(front)
    metadata = front / "fake_thing-2.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: fake-thing\nVersion: 2.0\n")
    (metadata / "entry_points.txt").write_text("[semi.modalities]\nthing = fake_thing\n")
    (thing,) = listed("thing")
    assert (thing.version, thing.state) == ("2.0", "available")
