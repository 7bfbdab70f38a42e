"""Blocked, loaded, failed, written for other hooks; bystanders that are skipped; names that semi keeps for itself."""

from __future__ import annotations

import json
import sys
import warnings

import pytest
from typer.testing import CliRunner

from semi.assets.lookup import assets_named
from semi.cli import app
from semi.errors import InputError, PluginError
from semi.integration import Integration
from semi.plugins import PluginInfo, PluginWarning, list_plugins, load_all, load_dataset, load_modality, skip
from semi.plugins.listing import TAKEN

HOOK = "from semi.plugins import hookimpl\n"
IMPORTED = "raise RuntimeError('imported')"


def listed(name: str) -> list[PluginInfo]:
    return [plugin for plugin in list_plugins() if plugin.name == name]


@pytest.mark.parametrize(
    ("allowed", "state"),
    [
        (None, "available"),
        ("fake-thing", "available"),
        ("other, Fake_Thing ,", "available"),
        ("other", "blocked"),
        ("", "blocked"),
        ("thing", "blocked"),  # names distributions, not what they offer
    ],
)
def test_the_allow_list_decides_what_may_be_imported(install, monkeypatch, allowed, state):
    install("fake-thing")
    monkeypatch.delenv("SEMI_LOAD_PLUGINS", raising=False)
    if allowed is not None:
        monkeypatch.setenv("SEMI_LOAD_PLUGINS", allowed)
    (thing,) = listed("thing")
    assert thing.state == state
    assert listed("vectors")[0].state != "blocked"


def test_a_blocked_plugin_is_refused_without_importing_it(install, monkeypatch):
    install("fake-thing", code=IMPORTED)
    monkeypatch.setenv("SEMI_LOAD_PLUGINS", "other")
    with pytest.raises(PluginError) as caught:
        load_modality("thing")
    assert "SEMI_LOAD_PLUGINS does not name fake-thing" in caught.value.what
    assert "SEMI_LOAD_PLUGINS=other,fake-thing" in caught.value.do
    assert "fake_thing" not in sys.modules


def test_the_allow_list_settles_a_clash(install, monkeypatch):
    install("fake-thing")
    install("other-thing", code=IMPORTED)
    monkeypatch.setenv("SEMI_LOAD_PLUGINS", "fake-thing")
    assert [offer.state for offer in listed("thing")] == ["available", "blocked"]
    assert load_modality("thing").name == "thing"


def test_a_saved_integration_imports_only_what_is_allowed_and_installs_nothing(
    toy, install, monkeypatch, tmp_path_factory
):
    install("fake-thing", code=IMPORTED)
    folder = toy(tmp_path_factory.mktemp("saved") / "toy", modality="thing")
    monkeypatch.setattr("subprocess.Popen", lambda *_, **__: pytest.fail("a process was started"))
    monkeypatch.setenv("SEMI_LOAD_PLUGINS", "")
    with pytest.raises(PluginError, match="SEMI_LOAD_PLUGINS does not name fake-thing"):
        Integration.load(folder)
    assert "fake_thing" not in sys.modules


def test_a_saved_integration_of_a_plugin_that_is_missing(toy, monkeypatch, tmp_path):
    folder = toy(tmp_path / "toy", modality="nowhere-to-be-found")
    monkeypatch.setattr("subprocess.Popen", lambda *_, **__: pytest.fail("a process was started"))
    with pytest.raises(PluginError, match="unknown modality 'nowhere-to-be-found'") as caught:
        Integration.load(folder)
    assert "install the plugin that brings it" in caught.value.do


@pytest.mark.parametrize("version", ["2", "0", "'1'", "True", "None", "1.0"])
def test_a_plugin_for_other_hooks_is_refused_after_import(install, version):
    install("fake-thing", code=f"{HOOK}api_version = {version}")
    with pytest.raises(PluginError, match="written for another version of semi's hooks") as caught:
        load_modality("thing")
    assert caught.value.got == f"api_version = {version}"
    assert ("semi-llm" in caught.value.do) == (version == "2")
    assert "fake_thing" not in sys.modules


def test_a_plugin_may_say_that_it_is_for_these_hooks(install):
    file = install("fake-thing")
    file.write_text(file.read_text() + "\napi_version = 1\n")
    assert load_modality("thing").name == "thing"


def test_use_shows_in_the_list(install):
    install("fake-thing")
    install("fake-broken", offers=["broken"], code=IMPORTED)
    load_modality("thing")
    with pytest.raises(PluginError):
        load_modality("broken")
    (thing,), (broken,) = listed("thing"), listed("broken")
    assert (thing.state, thing.cause, thing.fix) == ("loaded", None, None)
    assert broken.state == "failed"
    assert "\n" not in broken.cause
    assert "RuntimeError: imported" in broken.cause
    assert "fake-broken" in broken.fix
    install("other-thing")
    assert {offer.state for offer in listed("thing")} == {"clash"}


def test_a_plugin_that_registers_half_of_itself(install):
    """Its entry points promise more than its hook gives: the half that is there works."""
    install("fake-thing", offers=["thing", "missing"])
    with pytest.raises(PluginError) as caught:
        load_modality("missing")
    assert caught.value.got == "None"
    assert caught.value.expected == "a Modality named 'missing'"
    assert load_modality("thing").name == "thing"


@pytest.mark.parametrize(("kind", "name"), [(kind, sorted(names)[0]) for kind, names in TAKEN.items()])
def test_names_of_semi_itself_are_taken(install, kind, name):
    groups = {"modality": "modalities", "metric": "metrics", "command": "commands"}
    install("fake-thing", kind=groups[kind], offers=[name], code=IMPORTED)
    (offer,) = [plugin for plugin in listed(name) if plugin.distribution == "fake-thing"]
    assert offer.state == "clash"
    assert "semi-llm" in offer.cause
    assert "pip uninstall fake-thing" in offer.fix


def test_every_verb_and_score_of_semi_is_among_the_names_taken():
    verbs = {command.name for command in app.registered_commands} | {group.name for group in app.registered_groups}
    assert verbs <= TAKEN["command"], "add new verbs to semi.plugins.listing.TAKEN"


class TestBystanders:
    @pytest.fixture(autouse=True)
    def broken(self, install):
        install("fake-broken", offers=["broken", "also-broken"], code=IMPORTED)
        install("fake-thing")

    def test_they_are_skipped_with_one_warning(self, monkeypatch):
        monkeypatch.delenv("SEMI_STRICT_PLUGINS", raising=False)
        loaded, broken = load_all(["modality"])
        assert {"vectors", "thing"} <= {thing.name for thing in loaded}
        assert len(broken) == 2
        with pytest.warns(PluginWarning) as caught:
            skip(broken)
        assert len(caught) == 1
        assert "skipped 2 plugins that fail" in str(caught[0].message)
        assert "modality 'broken' of fake-broken 1.0" in str(caught[0].message)

    def test_none_is_no_warning(self):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            skip([])

    def test_strict_they_are_an_error(self, monkeypatch):
        monkeypatch.setenv("SEMI_STRICT_PLUGINS", "1")
        with pytest.raises(PluginError, match="fake-broken") as caught:
            skip(load_all(["modality"])[1])
        assert "SEMI_STRICT_PLUGINS=1" in caught.value.expected

    def test_one_that_hangs_or_ends_the_process_is_skipped_too(self, install, monkeypatch):
        monkeypatch.setattr("semi.plugins.check.LOAD_LIMIT", 2.0)
        install("fake-hangs", offers=["hangs"], code="import time; time.sleep(600)")
        install("fake-dies", offers=["dies"], code="import os; os._exit(3)")
        loaded, broken = load_all(["modality"])
        assert "thing" in {thing.name for thing in loaded}
        found = "; ".join(error.what for error in broken)
        assert "modality 'hangs' of fake-hangs 1.0: loading it hangs: no end after 2 seconds" in found
        assert "modality 'dies' of fake-dies 1.0: loading it ended the process with exit code 3" in found
        assert "modality 'broken' of fake-broken 1.0 cannot be imported" in found

    def test_blocked_ones_are_not_in_the_way(self, monkeypatch):
        monkeypatch.setenv("SEMI_LOAD_PLUGINS", "fake-thing")
        assert load_all(["modality"])[1] == []

    def test_looking_for_an_asset_skips_them(self, monkeypatch):
        monkeypatch.delenv("SEMI_STRICT_PLUGINS", raising=False)
        with pytest.warns(PluginWarning), pytest.raises(InputError, match="nothing to fetch"):
            assets_named(["no-such-asset"])

    def test_a_requested_one_raises(self):
        with pytest.raises(PluginError, match="fake-broken"):
            assets_named(["broken"])

    @pytest.mark.filterwarnings("default")
    def test_the_command_line_warns_in_one_line(self, monkeypatch):
        monkeypatch.delenv("SEMI_STRICT_PLUGINS", raising=False)
        result = CliRunner().invoke(app, ["fetch", "--list", "--json"])
        assert result.exit_code == 0
        assert json.loads(result.stdout)["assets"]
        assert result.stderr.startswith("warning: skipped 2 plugins that fail: ")
        assert len(result.stderr.splitlines()) == 1

    def test_the_command_line_is_strict_if_asked(self, monkeypatch):
        monkeypatch.setenv("SEMI_STRICT_PLUGINS", "1")
        result = CliRunner().invoke(app, ["fetch", "--list"])
        assert result.exit_code == 2
        assert "fake-broken" in result.stderr


def test_a_data_set_is_no_modality(install):
    install("fake-thing", kind="datasets")
    with pytest.raises(PluginError, match="has no hook semi_dataset"):
        load_dataset("thing")
