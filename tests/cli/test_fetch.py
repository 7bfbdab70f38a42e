"""`semi fetch`: names of core assets, of what plugins bring, and of single assets of plugins."""

from __future__ import annotations

import hashlib
import importlib
import json
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from semi.assets import CORE
from semi.cli import app

PLUGIN = """
from semi.assets import Archive, Asset
from semi.modality import Modality
from semi.plugins import hookimpl

class Thing(Modality):
    name = "thing"
    instruction = "Describe this thing."
    assets = (
        Asset("thing-net", "pypi", "semi-test-thing", (Archive("1.0", {sha256!r}, {size}),), ("thing/*",), "free", ""),
        Asset("thing-lost", "pypi", "semi-test-lost", (Archive("1.0", "00", 1),), (), "free", "is nowhere"),
    )[:{count}]

    def encoder(self, name=None):
        raise KeyError(name)

@hookimpl
def semi_modality(name):
    return Thing()
"""
METADATA = "Metadata-Version: 2.1\nName: semi-test-thing\nVersion: 1.0\n"


def fetch(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["fetch", *arguments])


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SEMI_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    return tmp_path / "cache"


@pytest.fixture(params=[1])
def plugin(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An installed plugin with the modality "thing", and its first assets (the second is on no index)."""
    wheel = tmp_path / "semi_test_thing-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("thing/net.bin", b"net")
        archive.writestr("semi_test_thing-1.0.dist-info/METADATA", METADATA)
        archive.writestr("semi_test_thing-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
    pin = {"sha256": hashlib.sha256(wheel.read_bytes()).hexdigest(), "size": wheel.stat().st_size}
    site = tmp_path / "site"
    info = site / "fake_thing-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fake-thing\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[semi.modalities]\nthing = fake_thing\n")
    (site / "fake_thing.py").write_text(PLUGIN.format(**pin, count=request.param))
    monkeypatch.syspath_prepend(site)
    importlib.invalidate_caches()
    yield
    sys.modules.pop("fake_thing", None)


@pytest.mark.parametrize("name", ["thing", "thing-net"])
@pytest.mark.usefixtures("plugin")
def test_a_modality_or_one_of_its_assets(cache: Path, name: str) -> None:
    place = cache / "assets" / "thing-net-1.0"
    first, second = fetch(name), fetch(name)
    assert first.stdout == f"thing-net: fetched, {place}\n"
    assert second.stdout == f"thing-net: already there, {place}\n"
    assert first.exit_code == second.exit_code == 0
    assert (place / "thing" / "net.bin").read_bytes() == b"net"


@pytest.mark.usefixtures("plugin")
def test_json_is_all_there_is_on_stdout(cache: Path) -> None:
    (row,) = json.loads(fetch("thing", "thing-net", "--json").stdout)["assets"]
    assert (row["name"], row["state"], row["path"]) == ("thing-net", "fetched", str(cache / "assets" / "thing-net-1.0"))


@pytest.mark.usefixtures("plugin")
def test_list_shows_everything_and_fetches_nothing(cache: Path) -> None:
    rows = {row["name"]: row for row in json.loads(fetch("--list", "--json").stdout)["assets"]}
    assert {*CORE, "thing-net"} <= rows.keys()
    assert {row["state"] for row in rows.values()} == {"absent"}
    assert not cache.exists()
    assert "thing-net" in fetch("--list").stdout


@pytest.mark.parametrize("plugin", [2], indirect=True)
@pytest.mark.usefixtures("plugin")
def test_one_that_fails_does_not_keep_the_others_away(cache: Path) -> None:
    result = fetch("thing")
    assert result.exit_code == 1
    assert "thing-net: fetched" in result.stdout
    assert result.stderr.startswith("error: asset 'thing-lost': ")


@pytest.mark.usefixtures("plugin")
def test_unknown_name_says_which_there_are(cache: Path) -> None:
    result = fetch("thing-nte")
    assert result.exit_code == 2
    assert "'thing-nte'" in result.stderr
    assert "did you mean 'thing-net'?" in result.stderr
    assert all(name in result.stderr for name in ("smollm2-135m", "thing,", "vectors"))
    assert not cache.exists()


def test_no_name_is_wrong_usage() -> None:
    result = fetch()
    assert result.exit_code == 2
    assert "--list" in result.stderr


def test_nothing_to_fetch_for_the_built_in_modality() -> None:
    assert fetch("vectors").stdout == "nothing needs to be fetched\n"
