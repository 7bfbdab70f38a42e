"""Saved integrations and foundations that were cut, changed or forged are refused by name."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from semi.adaptation import adapt
from semi.artifacts import write_manifest
from semi.errors import ArtifactError, InputError
from semi.foundation import Foundation
from semi.integration import Integration
from tests.test_adaptation import QUICK, files, pairs


@pytest.fixture(scope="module")
def saved(foundation_folder: Path, tiny_text_site: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(tiny_text_site)
        foundation = Foundation.load(foundation_folder, device="cpu")
    folder = tmp_path_factory.mktemp("integration") / "saved"
    adapt(foundation, "vectors", pairs(), out=folder, shots=6, steps=1, diagnose=False)
    return folder


def edit(path: Path, change: Callable[[Any], Any]) -> None:
    path.write_text(json.dumps(change(json.loads(path.read_text()))))


def sign(folder: Path, kind: str) -> None:
    """A manifest that fits whatever the files say now: damage that only strict reading can notice."""
    manifest = json.loads((folder / "manifest.json").read_text())
    write_manifest(folder, kind=kind, files=list(manifest["files"]), info=manifest["info"])


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "no_manifest": (lambda f: (f / "manifest.json").unlink(), "incomplete"),
    "truncated": (lambda f: _cut(f / "integration.safetensors"), "integration.safetensors"),
    "flipped_bit": (lambda f: _flip(f / "integration.safetensors"), "sha256"),
    "edited": (lambda f: edit(f / "integration.json", lambda d: d | {"modality": "text"}), "integration.json"),
    "missing_file": (lambda f: (f / "integration.safetensors").unlink(), "is missing"),
    "other_kind": (lambda f: edit(f / "manifest.json", lambda d: d | {"kind": "foundation"}), "something else"),
    "newer_format": (lambda f: edit(f / "manifest.json", lambda d: d | {"format_version": 99}), "another format"),
}


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_integration_is_refused_by_name(saved: Path, tmp_path: Path, damage: str) -> None:
    folder = shutil.copytree(saved, tmp_path / "copy")
    harm, message = DAMAGE[damage]
    harm(folder)
    with pytest.raises(ArtifactError, match=message) as refused:
        Integration.load(folder)
    assert str(folder) in str(refused.value)


FORGED: dict[str, tuple[Callable[[dict[str, Any]], dict[str, Any]], str]] = {
    "lacks_a_key": (lambda d: {k: v for k, v in d.items() if k != "projector"}, "projector"),
    "other_projector": (lambda d: d | {"projector": d["projector"] | {"d_hidden": 5}}, "projector.layers"),
    "unknown_size": (lambda d: d | {"projector": d["projector"] | {"depth": 5}}, "depth"),
    "other_alignment": (lambda d: d | {"alignment": d["alignment"] | {"kind": "pca"}}, "alignment"),
    "unknown_alignment": (lambda d: d | {"alignment": d["alignment"] | {"kind": "magic"}}, "magic"),
    "fewer_labels": (lambda d: d | {"memory": d["memory"][1:]}, "memory.embeddings"),
    "no_adapter": (lambda d: d | {"adapter": None}, "adapter"),
    "other_encoder": (lambda d: d | {"encoder": d["encoder"] | {"id": "x@2"}}, "encoder"),
    "other_lm": (lambda d: d | {"language_model": d["language_model"] | {"sha256": "0"}}, "its files differ"),
}


@pytest.mark.parametrize("forgery", FORGED)
def test_what_does_not_belong_together_is_refused(saved: Path, tmp_path: Path, forgery: str) -> None:
    folder = shutil.copytree(saved, tmp_path / "copy")
    change, message = FORGED[forgery]
    edit(folder / "integration.json", change)
    sign(folder, "integration")
    with pytest.raises(ArtifactError, match=message):
        Integration.load(folder, device="cpu")


def test_the_saved_foundation_is_the_one_in_memory(foundation_folder: Path, tiny_text: str, tmp_path: Path) -> None:
    first = Foundation.load(foundation_folder, device="cpu")
    first.save(tmp_path / "again")
    again = Foundation.load(tmp_path / "again", device="cpu")
    assert again.sha256 == first.sha256
    assert files(tmp_path / "again") == files(foundation_folder)
    options = {"shots": 6, **QUICK}
    a, b = (f.adapt("vectors", pairs(), **options) for f in (first, again))
    assert a.record == b.record


@pytest.mark.parametrize("file", ["projector.safetensors", "hypernetwork.safetensors", "foundation.json"])
def test_a_damaged_foundation_is_refused_by_name(
    foundation_folder: Path, tiny_text: str, tmp_path: Path, file: str
) -> None:
    folder = shutil.copytree(foundation_folder, tmp_path / "copy")
    _cut(folder / file)
    with pytest.raises(ArtifactError, match=file):
        Foundation.load(folder, device="cpu")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d | {"projector": d["projector"] | {"d_hidden": 7}}, "projector.safetensors"),
        (lambda d: d | {"text_encoder": d["text_encoder"] | {"id": "other@3"}}, "text encoder"),
        (lambda d: d | {"language_model": d["language_model"] | {"sha256": "0"}}, "its files differ"),
        (lambda d: {k: v for k, v in d.items() if k != "hypernetwork"}, "hypernetwork"),
        (lambda d: d | {"hypernetwork": {"kind": "magic", "settings": {}}}, "magic"),
        (lambda d: d | {"hypernetwork": {"kind": "ridge", "settings": {"depth": 3}}}, "depth"),
    ],
    ids=["projector", "text_encoder", "language_model", "lacks_a_key", "kind", "settings"],
)
def test_a_foundation_that_does_not_fit_is_refused(
    foundation_folder: Path, tiny_text: str, tmp_path: Path, change: Callable[[Any], Any], message: str
) -> None:
    folder = shutil.copytree(foundation_folder, tmp_path / "copy")
    edit(folder / "foundation.json", change)
    sign(folder, "foundation")
    with pytest.raises(InputError, match=message):
        Foundation.load(folder, device="cpu")
