"""The shipped folder is complete, small, and what the entry point says."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from semi.artifacts import load_tensors, read_json, read_manifest
from semi.assets.lookup import assets_named
from semi.hypernetwork import build
from semi.plugins import list_plugins, load_foundation
from semi.projector import Projector

FOLDER = load_foundation("smollm2-135m").folder
CARD = "MODEL_CARD.md"
FILES = {"foundation.json", "projector.safetensors", "hypernetwork.safetensors"}
LARGEST = 40_000_000
"""Bytes of all files: what a plugin may ask people to download with `pip install`."""


def test_the_folder_is_complete() -> None:
    manifest = read_manifest(FOLDER, "foundation")
    assert set(manifest["files"]) >= FILES
    assert sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()) <= LARGEST


def test_nothing_else_is_shipped() -> None:
    listed = set(read_manifest(FOLDER, "foundation")["files"])
    assert {path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*")} == listed | {"manifest.json", CARD}


def test_foundation_names_its_parts() -> None:
    described = read_json(FOLDER / "foundation.json")
    assert described["language_model"]["id"] == "smollm2-135m"
    assert described["language_model"]["precision"] == "q4_1"
    assert described["text_encoder"]["modality"] == "text"


@pytest.mark.parametrize("part", ["projector", "hypernetwork"])
def test_weights_fit_their_description(part: str) -> None:
    described = read_json(FOLDER / "foundation.json")
    projector = Projector(**described["projector"])
    hypernetwork = build(described["hypernetwork"]["kind"], described["hypernetwork"]["settings"], projector)
    module: torch.nn.Module = {"projector": projector, "hypernetwork": hypernetwork}[part]
    shapes = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    assert set(load_tensors(FOLDER / f"{part}.safetensors", shapes)) == set(shapes)


def test_one_name_fetches_all_it_needs() -> None:
    assert [asset.name for asset in assets_named(["smollm2-135m"])] == ["smollm2-135m", "minilm-l6-v2"]


def test_registered_under_its_name() -> None:
    (found,) = [plugin for plugin in list_plugins() if plugin.kind == "foundation" and plugin.name == "smollm2-135m"]
    assert found.distribution == "semi-plugin-smollm2"
    assert found.state in ("available", "loaded")  # by an earlier test of the same process
    assert load_foundation("smollm2-135m").folder == Path(FOLDER)
