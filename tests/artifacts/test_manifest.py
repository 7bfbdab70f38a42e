from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch

from semi.artifacts import read_manifest, save_tensors, write_json, write_manifest
from semi.errors import ArtifactError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "made"
    made.mkdir()
    save_tensors(made / "w.safetensors", {"w": torch.ones(2, 3)})
    write_json(made / "c.json", {"a": 1})
    write_manifest(made, kind="integration", files=["w.safetensors", "c.json"], info={"seed": 3})
    return made


def test_a_complete_folder_is_read(folder: Path) -> None:
    manifest = read_manifest(folder, "integration")
    assert manifest["info"] == {"seed": 3}
    assert manifest["files"]["w.safetensors"]["shapes"] == {"w": [2, 3]}
    assert manifest["versions"]["torch"] == version("torch")  # torch.__version__ may carry "+cu130"
    assert {"sha256", "bytes"} == set(manifest["files"]["c.json"])


def _edit(folder: Path, **changes: Any) -> None:
    path = folder / "manifest.json"
    write_json(path, {**json.loads(path.read_text()), **changes})


def _rehash(folder: Path) -> None:
    files = json.loads((folder / "manifest.json").read_text())["files"]
    _edit(folder, files={**files, "c.json": {**files["c.json"], "sha256": "0" * 64}})


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda f: (f / "manifest.json").unlink(), "incomplete: it has no manifest.json"),
        (lambda f: (f / "manifest.json").write_text("{}"), "not a manifest of semi"),
        (lambda f: (f / "manifest.json").write_text('{"files": '), "manifest.json is not JSON"),
        (lambda f: (f / "c.json").unlink(), "c.json is missing"),
        (lambda f: (f / "c.json").write_text("longer than before"), "c.json has another size"),
        (
            lambda f: (f / "c.json").write_bytes((f / "c.json").read_bytes().replace(b"1", b"2")),
            "c.json has another sha",
        ),
        (_rehash, "c.json has another sha256"),
        (lambda f: _edit(f, format_version=2), "another format"),
        (lambda f: _edit(f, kind="foundation"), "holds something else"),
        (lambda f: _edit(f, files={"../x": {"sha256": "", "bytes": 0}}), "outside its folder"),
        (lambda f: _edit(f, files={"/etc/passwd": {"sha256": "", "bytes": 0}}), "outside its folder"),
        (lambda f: _edit(f, files={"c.json": "abc"}), "does not describe 'c.json'"),
    ],
)
def test_a_spoilt_folder_is_refused(folder: Path, spoil: Any, said: str) -> None:
    spoil(folder)
    with pytest.raises(ArtifactError, match=said) as caught:
        read_manifest(folder, "integration")
    assert str(folder) in caught.value.what
    assert caught.value.exit_code == 2


def test_hashes_can_wait_but_sizes_cannot(folder: Path) -> None:
    _rehash(folder)
    assert read_manifest(folder, "integration", hashes=False)["info"] == {"seed": 3}
    (folder / "c.json").write_text("longer than before")
    with pytest.raises(ArtifactError, match=r"c\.json has another size"):
        read_manifest(folder, "integration", hashes=False)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="nowhere is not a folder"):
        read_manifest(tmp_path / "nowhere", "integration")
