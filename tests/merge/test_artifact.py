"""A merge that is not whole, not of this format, or asked for what it lacks, is refused by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from semi.artifacts import sha256_of
from semi.errors import ArtifactError, InputError
from semi.merge.artifact import MERGE, Artifact
from semi.merge.run import run_merge
from tests.merge.conftest import Q, write_checkpoint
from tests.merge.merges import config_of


@pytest.fixture
def merged(base_folder: Path, tunes: dict[str, dict[str, Tensor]], tmp_path: Path) -> Path:
    models = {name: write_checkpoint(tmp_path / name, tensors) for name, tensors in tunes.items()}
    run_merge(config_of(base_folder, models), tmp_path / "out")
    return tmp_path / "out"


def test_it_knows_what_was_merged(merged: Path, base_folder: Path) -> None:
    with Artifact.open(merged) as artifact:
        assert (artifact.method, artifact.rule, artifact.scale) == ("mmer", "tall", "none")
        assert list(artifact.models) == ["text", "vision", "audio"]
        assert artifact.base.id == str(base_folder)
        assert artifact.base.files == {"model.safetensors": sha256_of(base_folder / "model.safetensors")}
        audio = artifact.models["audio"]
        assert audio.files == {"model.safetensors": sha256_of(Path(audio.path) / "model.safetensors")}
        assert audio.lambda_ == 1
        assert artifact.entries["model.norm.weight"].kind == "exact"
        assert artifact.entries[Q].shape == (8, 8)


def test_its_summary_is_json_and_counts_everything(merged: Path) -> None:
    with Artifact.open(merged) as artifact:
        summary = json.loads(json.dumps(artifact.summary()))
    assert sum(summary["tensors"].values()) == 7
    assert sum(summary["bytes"].values()) == sum(
        path.stat().st_size for path in merged.iterdir() if path.name != "manifest.json"
    )


@pytest.mark.parametrize("ask", ["shared", "code", "blocks"])
def test_a_tensor_that_is_exact_or_unknown_is_refused(ask: str, merged: Path) -> None:
    with Artifact.open(merged) as artifact:
        for key in ("model.norm.weight", "nothing"):
            with pytest.raises(InputError, match="has no merged tensor"):
                list(getattr(artifact, ask)(key))


def test_a_model_that_it_lacks_is_refused(merged: Path) -> None:
    with Artifact.open(merged) as artifact:
        asks: list[Any] = [artifact.exact, artifact.kept, artifact.files, lambda name: artifact.scales(name, Q)]
        for ask in [*asks, lambda name: list(artifact.code(Q, [name]))]:
            with pytest.raises(InputError, match="holds no such model"):
                ask("smell")


def test_a_folder_without_its_manifest_is_refused(merged: Path) -> None:
    (merged / "manifest.json").unlink()
    with pytest.raises(ArtifactError, match="incomplete"):
        Artifact.open(merged)


def test_a_file_that_was_cut_is_refused(merged: Path) -> None:
    path = next(merged.glob("masks-*"))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ArtifactError, match="another size"):
        Artifact.open(merged)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"format": 2}, "another format"),
        ({"models": None}, "does not describe a usable merge"),
        ({"base": {}}, "does not describe a usable merge"),
        ({"scale": "row"}, "lacks tensors"),
        ({"rule": "ternary"}, "lacks tensors"),
    ],
)
def test_a_description_that_does_not_fit_is_refused(change: dict[str, Any], says: str, merged: Path) -> None:
    rewrite(merged, json.loads((merged / MERGE).read_text()) | change)
    with pytest.raises(ArtifactError, match=says):
        Artifact.open(merged)


def test_a_description_of_a_tensor_that_is_not_there_is_refused(merged: Path) -> None:
    content = json.loads((merged / MERGE).read_text())
    content["entries"]["more"] = content["entries"][Q]
    rewrite(merged, content)
    with pytest.raises(ArtifactError, match="lacks tensors") as caught:
        Artifact.open(merged)
    assert "more" in str(caught.value.got)


def rewrite(folder: Path, content: dict[str, Any]) -> None:
    """Replace merge.json, and its size in the manifest."""
    (folder / MERGE).write_text(json.dumps(content))
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"][MERGE]["bytes"] = (folder / MERGE).stat().st_size
    (folder / "manifest.json").write_text(json.dumps(manifest))
