"""Fetching: verified, whole or not at all, once, whatever else happens meanwhile. The client is the real pip."""

from __future__ import annotations

import functools
import hashlib
import http.server
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from semi.assets import CORE, Archive, Asset
from semi.errors import AssetError

POSIX = pytest.mark.skipif(os.name != "posix", reason="kills with SIGKILL")

FETCH = """
import json, os, signal, sys, threading, time
from pathlib import Path
from semi.assets import Archive, Asset
settings, moment = json.loads(sys.argv[1]), sys.argv[2]
asset = Asset(**settings | {"archives": tuple(Archive(**pin) for pin in settings["archives"])})
def die(): os.kill(os.getpid(), signal.SIGKILL)
def watch():
    files = Path(os.environ["SEMI_CACHE"]) / "assets" / ".staging" / "toy-1.0" / "files"
    while not files.exists() or len(list(files.rglob("*.txt"))) < 50:
        time.sleep(0.001)
    die()
if moment == "half unpacked":
    threading.Thread(target=watch, daemon=True).start()
told = []
def tell(step, done, total):
    told.append(step)
    if moment == step and told.count(step) == 2 - (step == "unpacking"):  # the second "downloading": pip is at work
        die()
print(asset.fetch(tell))
"""


def fetch_elsewhere(asset: Asset, moment: str = "never") -> subprocess.Popen[str]:
    """Fetch in a process that kills itself at a moment."""
    command = [sys.executable, "-c", FETCH, json.dumps(asdict(asset)), moment]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def found(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_fetch_brings_the_wanted_files_and_a_record(toy: Asset, make: SimpleNamespace, cache: Path) -> None:
    assert not toy.present()
    folder = toy.fetch()
    assert folder == toy.folder() == cache / "assets" / "toy-1.0"
    contents = found(folder)
    record = json.loads(contents.pop("asset.json"))
    assert contents == make.files
    assert record["sha256"] == toy.archives[0].sha256
    assert record["files"] == {name: len(data) for name, data in make.files.items()}
    assert toy.path("toy/LICENSE").read_bytes() == make.files["toy/LICENSE"]
    assert toy.path("toy/data").is_dir()


def test_progress_counts_up_to_the_whole(toy: Asset) -> None:
    steps: list[tuple[str, int, int]] = []
    toy.fetch(lambda *step: steps.append(step))
    size = toy.archives[0].size
    assert {total for _, _, total in steps} == {size}
    assert list(dict.fromkeys(step for step, _, _ in steps)) == ["downloading", "unpacking"]
    assert ("downloading", size, size) in steps
    assert steps[-1] == ("unpacking", size, size)


def test_second_fetch_asks_nobody(toy: Asset, index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = toy.fetch()
    next(index.iterdir()).unlink()
    monkeypatch.setitem(sys.modules, "pip", None)
    assert toy.fetch(lambda *_: pytest.fail("something was done")) == folder


def test_nothing_stays_but_the_asset(toy: Asset, cache: Path) -> None:
    toy.fetch()
    assert [path.name for path in (cache / "assets" / ".staging").iterdir()] == ["toy-1.0.lock"]


def test_wrong_hash_is_refused_before_unpacking_and_leaves_nothing(toy: Asset, cache: Path) -> None:
    wrong = replace(toy, archives=(replace(toy.archives[0], sha256="0" * 64),))
    with pytest.raises(AssetError, match="not the archive that was pinned") as error:
        wrong.fetch()
    assert toy.archives[0].sha256 in str(error.value.got)
    assert "0" * 64 in str(error.value.expected)
    assert not wrong.present()
    assert [path.name for path in cache.rglob("*") if path.is_file()] == ["toy-1.0.lock"]


def test_archive_that_cannot_be_unpacked_leaves_nothing(index: Path, make: SimpleNamespace, cache: Path) -> None:
    asset = make.asset(make.wheel(index / "semi_test_toy-1.0-py3-none-any.whl", {"toy/a": b"1", "../evil": b"2"}))
    with pytest.raises(AssetError, match="leads out"):
        asset.fetch()
    assert [path.name for path in cache.rglob("*") if path.is_file()] == ["toy-1.0.lock"]


def test_versions_are_tried_in_order(toy: Asset) -> None:
    newer = Archive("2.0", "0" * 64, 1)
    assert replace(toy, archives=(newer, toy.archives[0])).fetch().name == "toy-1.0"


def test_any_pinned_hash_of_the_version_will_do(toy: Asset) -> None:
    other = Archive("1.0", "0" * 64, 1)
    assert replace(toy, archives=(other, toy.archives[0])).fetch().name == "toy-1.0"


def test_a_version_nobody_has_is_an_error_with_the_clients_words(toy: Asset) -> None:
    gone = replace(toy, archives=(Archive("7.7", "0" * 64, 1),))
    with pytest.raises(AssetError, match=r"could not download semi-test-toy 7\.7") as error:
        gone.fetch()
    assert "No matching distribution" in str(error.value.got)
    assert "use the toy next door" in str(error.value.do)


@pytest.mark.parametrize("harm", ["lost", "shorter", "record"])
def test_a_damaged_asset_is_not_taken_for_whole_and_is_mended(toy: Asset, make: SimpleNamespace, harm: str) -> None:
    victim = toy.fetch() / ("asset.json" if harm == "record" else "toy/weights.bin")
    victim.unlink() if harm == "lost" else victim.write_bytes(victim.read_bytes()[:-5])
    assert not toy.present()
    toy.fetch()
    assert toy.path("toy/weights.bin").read_bytes() == make.files["toy/weights.bin"]


def test_other_globs_unpack_afresh(toy: Asset) -> None:
    replace(toy, files=("toy/LICENSE",)).fetch()
    assert not toy.present()
    assert (toy.fetch() / "toy/weights.bin").exists()


def test_absent_says_how_to_fetch(toy: Asset) -> None:
    with pytest.raises(AssetError, match="'toy' has not been fetched") as error:
        toy.folder()
    assert "semi fetch toy" in str(error.value.do)


def test_unknown_file_of_an_asset(toy: Asset) -> None:
    toy.fetch()
    with pytest.raises(AssetError, match=r"has no file 'toy/model\.gguf'"):
        toy.path("toy/model.gguf")


def test_a_place_that_cannot_be_written_to(toy: Asset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("SEMI_CACHE", str(tmp_path / "file"))
    with pytest.raises(AssetError, match="could not be stored") as error:
        toy.fetch()
    assert "SEMI_CACHE" in str(error.value.do)


@pytest.fixture
def many(index: Path, make: SimpleNamespace) -> Asset:
    """An asset of so many files that unpacking takes a while."""
    files = {f"toy/{i:04}.txt": hashlib.sha256(bytes([i % 256])).digest() * 64 for i in range(600)}
    asset: Asset = make.asset(make.wheel(index / "semi_test_toy-1.0-py3-none-any.whl", files))
    return asset


@POSIX
@pytest.mark.parametrize("moment", ["downloading", "half unpacked", "unpacking"])
def test_kill_leaves_nothing_that_passes_for_the_asset(many: Asset, index: Path, moment: str) -> None:
    process = fetch_elsewhere(many, moment)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert not many.present()
    if moment != "downloading":  # the archive had come, so the next fetch needs no index
        next(index.iterdir()).unlink()
    folder = many.fetch()
    assert len(list(folder.rglob("*.txt"))) == 600
    assert not (folder.parent / ".staging" / folder.name).exists()


@pytest.fixture
def served(index: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The paths that pip asks for, its index being served from this machine."""
    asked: list[str] = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, form: str, *words: object) -> None:
            asked.append(self.path)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=index)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("PIP_FIND_LINKS", f"http://127.0.0.1:{server.server_port}/")
        yield asked
        server.shutdown()


def test_two_at_once_download_once(many: Asset, served: list[str]) -> None:
    processes = [fetch_elsewhere(many) for _ in range(2)]
    for process in processes:
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        assert out.strip() == str(many.folder())
    assert len([path for path in served if path.endswith(".whl")]) == 1


def test_core_assets_are_pinned() -> None:
    for name, asset in CORE.items():
        assert name == asset.name
        assert asset.archives
        assert all(len(bytes.fromhex(pin.sha256)) == 32 and pin.size > 0 for pin in asset.archives)
