"""Archives: what is wanted comes out byte for byte, and nothing ever lands outside the folder."""

from __future__ import annotations

import gzip
import lzma
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semi.assets.unpack import unpack
from semi.errors import AssetError

Build = Callable[..., Path]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "deep" / "out"
    folder.mkdir(parents=True)
    return folder


def found(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_wanted_files_come_out_as_they_went_in(make: SimpleNamespace, build: Build, folder: Path) -> None:
    sizes = unpack(build(make.files | {"other/file": b"x"}), folder, ["toy/*"])
    assert found(folder) == make.files
    assert sizes == {name: len(data) for name, data in make.files.items()}


def test_no_globs_means_everything(make: SimpleNamespace, build: Build, folder: Path) -> None:
    unpack(build(make.files | {"other/file": b"x"}), folder)
    assert found(folder).items() >= (make.files | {"other/file": b"x"}).items()


def test_glob_without_a_file_is_an_error(make: SimpleNamespace, build: Build, folder: Path) -> None:
    with pytest.raises(AssetError, match=r"lacks a file") as error:
        unpack(build(make.files), folder, ["toy/*", "model/*.gguf"])
    assert error.value.expected == "model/*.gguf"


@pytest.mark.parametrize("name", ["../evil", "toy/../../evil", "/evil", "C:/evil", "toy\\..\\..\\evil", ".."])
@pytest.mark.parametrize("wanted", [(), ("toy/*",)], ids=["all", "globs"])
def test_names_that_lead_out_are_refused(
    build: Build, folder: Path, tmp_path: Path, name: str, wanted: tuple[str, ...]
) -> None:
    archive = build({name: b"evil"})
    before = set(tmp_path.rglob("*"))
    with pytest.raises(AssetError, match="leads out") as error:
        unpack(archive, folder, wanted)
    assert error.value.got in (name, f"./{name}")
    assert set(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("target", ["../../evil", "/etc/passwd", "/"])
def test_links_that_lead_out_are_refused(build: Build, folder: Path, target: str) -> None:
    with pytest.raises(AssetError, match="holds a link"):
        unpack(build({}, {"toy/link": target}), folder)
    assert not (folder / "toy" / "link").exists()


def test_files_behind_a_link_are_refused(build: Build, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(AssetError):
        unpack(build({"toy/link/evil": b"evil"}, {"toy/link": "../.."}), folder)
    assert all(folder in path.parents for path in tmp_path.rglob("evil"))


def test_unwanted_links_do_no_harm(make: SimpleNamespace, build: Build, folder: Path) -> None:
    unpack(build(make.files, {"doc/link": "/usr/share/doc"}), folder, ["toy/*"])
    assert found(folder) == make.files


@pytest.mark.parametrize(("kind", "prefix"), [("tgz", ""), ("deb", "./")])
def test_a_link_inside_becomes_a_plain_file(
    make: SimpleNamespace, folder: Path, tmp_path: Path, kind: str, prefix: str
) -> None:
    # The link precedes its target here, as it may in any archive.
    archive = getattr(make, kind)(tmp_path / f"toy.{kind}", make.files, {f"{prefix}toy/same": "weights.bin"})
    unpack(archive, folder, ["toy/*"])
    assert found(folder) == make.files | {"toy/same": make.files["toy/weights.bin"]}
    assert not (folder / "toy/same").is_symlink()


@settings(max_examples=150)
@given(name=st.text(st.sampled_from("ab./\\:C~ "), min_size=1, max_size=9), kind=st.sampled_from(["whl", "tgz"]))
def test_nothing_lands_outside_whatever_the_name(make: SimpleNamespace, name: str, kind: str) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        base = Path(scratch)
        if kind == "whl":
            archive = make.wheel(base / "toy-1.0-py3-none-any.whl", {name: b"x"})
        else:
            archive = make.tgz(base / "toy.tgz", {name: b"x"})
        folder = base / "a" / "b"
        folder.mkdir(parents=True)
        try:
            sizes = unpack(archive, folder)
        except AssetError:
            sizes = {}
        assert {path for path in base.rglob("*") if path.is_file()} == {archive, *(folder / name for name in sizes)}


@pytest.mark.parametrize(("compress", "suffix"), [(gzip.compress, "gz"), (lzma.compress, "xz")], ids=["gz", "xz"])
@pytest.mark.parametrize("extra", range(4))
def test_deb_of_any_compression_and_odd_or_even_size(
    make: SimpleNamespace, folder: Path, tmp_path: Path, compress: Callable[[bytes], bytes], suffix: str, extra: int
) -> None:
    contents = make.files | {"toy/extra": b"z" * extra}
    archive = make.deb(tmp_path / "toy.deb", contents, compress=compress, suffix=suffix)
    unpack(archive, folder, ["toy/*"])
    assert found(folder) == contents


def test_zstd_is_read_where_python_can(make: SimpleNamespace, folder: Path, tmp_path: Path) -> None:
    zstandard = pytest.importorskip("zstandard")
    archive = make.deb(tmp_path / "toy.deb", make.files, compress=zstandard.ZstdCompressor().compress, suffix="zst")
    unpack(archive, folder, ["toy/*"])
    assert found(folder) == make.files


def test_zstd_says_what_to_do_where_python_cannot(
    make: SimpleNamespace, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "compression.zstd", None)
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(AssetError, match="zstd") as error:
        unpack(make.deb(tmp_path / "toy.deb", make.files, compress=bytes, suffix="zst"), folder)
    assert "pip install zstandard" in str(error.value)


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.7])
def test_truncated_archives_are_errors_of_ours(make: SimpleNamespace, build: Build, folder: Path, keep: float) -> None:
    archive = build(make.files)
    data = archive.read_bytes()
    archive.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(AssetError, match=archive.name):
        unpack(archive, folder, ["toy/*"])


def test_unknown_kinds_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(AssetError, match=r"toy\.rar cannot be unpacked"):
        unpack(tmp_path / "toy.rar", folder)
