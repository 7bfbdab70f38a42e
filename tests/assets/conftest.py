"""Small archives built here, and indexes on this machine that the real clients fetch them from."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import lzma
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from semi.assets import Archive, Asset

FILES = {
    "toy/weights.bin": bytes(range(256)) * 40,
    "toy/data/table.csv": b"a,b\n1,2\n",
    "toy/LICENSE": b"free\n",
}
Contents = dict[str, bytes]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of its own for every test."""
    monkeypatch.setenv("SEMI_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def tar_bytes(contents: Contents, links: dict[str, str] | None = None) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, target in (links or {}).items():
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, target
            archive.addfile(link)
        for name, data in contents.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def build_wheel(path: Path, contents: Contents, links: dict[str, str] | None = None) -> Path:
    """A wheel that pip accepts: with METADATA, WHEEL and RECORD."""
    name, version = path.name.split("-")[:2]
    info = f"{name}-{version}.dist-info"
    everything = contents | {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    rows = [
        f"{file},sha256={base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b'=').decode()},{len(data)}"
        for file, data in everything.items()
    ]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file, data in everything.items():
            archive.writestr(file, data)
        for file, target in (links or {}).items():
            link = zipfile.ZipInfo(file)
            link.external_attr = (stat.S_IFLNK | 0o777) << 16
            archive.writestr(link, target)
        archive.writestr(f"{info}/RECORD", "\n".join([*rows, f"{info}/RECORD,,"]) + "\n")
    return path


def build_tgz(path: Path, contents: Contents, links: dict[str, str] | None = None) -> Path:
    path.write_bytes(gzip.compress(tar_bytes(contents, links), mtime=0))
    return path


def build_deb(
    path: Path,
    contents: Contents,
    links: dict[str, str] | None = None,
    compress: Callable[[bytes], bytes] = lzma.compress,
    suffix: str = "xz",
    control: bytes = b"Package: toy\nVersion: 1:2.0-1\nArchitecture: all\nMaintainer: nobody <n@example.org>\n",
) -> Path:
    """A Debian package: ar archive of debian-binary, control.tar and data.tar, odd sizes padded."""
    dotted = {name if name.startswith("/") else f"./{name}": data for name, data in contents.items()}
    members = {
        "debian-binary": b"2.0\n",
        "control.tar.xz": lzma.compress(tar_bytes({"./control": control})),
        f"data.tar.{suffix}": compress(tar_bytes(dotted, links)),
    }
    with path.open("wb") as file:
        file.write(b"!<arch>\n")
        for name, data in members.items():
            file.write(f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(data):<10}`\n".encode())
            file.write(data + b"\n" * (len(data) % 2))
    return path


@pytest.fixture(scope="session")
def make() -> SimpleNamespace:
    """The builders, for test files that cannot import this one."""
    return SimpleNamespace(files=FILES, wheel=build_wheel, tgz=build_tgz, deb=build_deb, asset=pinned)


@pytest.fixture(params=["whl", "tgz", "deb"])
def build(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., Path]:
    """Builds an archive of each kind in turn: build(contents, links) -> path."""
    builders: dict[str, tuple[str, Callable[..., Path]]] = {
        "whl": ("toy-1.0-py3-none-any.whl", build_wheel),
        "tgz": ("toy-1.0.tgz", build_tgz),
        "deb": ("toy_1.0_all.deb", build_deb),
    }
    name, builder = builders[request.param]
    return lambda contents, links=None: builder(tmp_path / name, contents, links)


def pinned(archive: Path, **changes: object) -> Asset:
    """The asset for a toy archive."""
    data = archive.read_bytes()
    settings = {
        "name": "toy",
        "source": "pypi",
        "package": "semi-test-toy",
        "archives": (Archive("1.0", hashlib.sha256(data).hexdigest(), len(data)),),
        "files": ("toy/*",),
        "licence": "free",
        "about": "a toy",
        "instead": "use the toy next door",
    }
    return Asset(**(settings | changes))  # type: ignore[arg-type]


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes for its only index."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def toy(index: Path) -> Asset:
    """A wheel on that index, and its asset."""
    return pinned(build_wheel(index / "semi_test_toy-1.0-py3-none-any.whl", FILES))
