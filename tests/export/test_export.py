"""The exported folder against PyTorch: the whole way from a sample to labels and soft tokens."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from semi.artifacts import read_manifest
from semi.errors import InputError, OutputError, SemiError
from semi.export import folder as exporting
from semi.export.folder import KIND, export, label_table, load_runner
from semi.export.network import embedding_network
from semi.integration import Parts, pool, read_parts
from semi.memory import Memory
from semi.pairs import Pair
from semi.plugins import load_modality
from tests.export.conftest import WIDTH

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

Made = Callable[..., tuple[Path, list[Pair]]]


class Exported(NamedTuple):
    folder: Path
    out: Path
    runner: Any
    parts: Parts
    pairs: list[Pair]
    info: dict[str, Any]

    def ready(self, pair: Pair) -> tuple[np.ndarray, torch.Tensor]:
        """What the runner takes of a sample, and its embedding by the plugin's encoder."""
        sample = self.parts.modality.parse(pair.sample)
        build = getattr(self.parts.encoder, "network", lambda: embedding_network(WIDTH))
        return build().prepare(sample), torch.from_numpy(self.parts.encoder.encode([sample]))


@pytest.fixture(scope="module")
def exported(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Exported]:
    kept: dict[str, Exported] = {}

    def make(modality: str) -> Exported:
        if modality not in kept:
            folder, pairs = made(modality)
            out = tmp_path_factory.mktemp("exported") / modality
            info = export(folder, out, check=[pairs[0].sample])
            kept[modality] = Exported(folder, out, load_runner(out).Runner(out), read_parts(folder), pairs, info)
        return kept[modality]

    return make


@pytest.fixture
def toy(exported: Callable[[str], Exported]) -> Exported:
    return exported("vectors")


def fetched(modality: str) -> pytest.MarkDecorator:
    present = all(asset.present() for asset in load_modality(modality).assets)
    return pytest.mark.skipif(not present, reason=f"run: semi fetch {modality}")


@pytest.mark.parametrize(
    "modality",
    ["vectors", *(pytest.param(name, marks=[pytest.mark.assets, fetched(name)]) for name in ("imu", "satellite"))],
)
def test_soft_tokens_and_labels_are_those_of_pytorch(exported: Callable[[str], Exported], modality: str) -> None:
    this = exported(modality)
    assert this.info["parity"] <= 1e-4
    assert read_manifest(this.out, KIND)["info"]["encoder"] == this.parts.encoder.id
    for pair in this.pairs:
        array, embedding = this.ready(pair)
        found = this.runner.read(array)
        soft = this.parts.projector.soft(this.parts.alignment(embedding))[0]
        np.testing.assert_allclose(found["soft_tokens"], soft.numpy(), atol=1e-4)
        row = pool(embedding)[0]
        nearest = this.parts.memory.nearest(row)
        assert found["labels"][0][0] == pair.caption
        np.testing.assert_allclose([d for _, d in found["labels"]], [n.distance for n in nearest], atol=2e-3)
        assert found["unlike"] == this.parts.memory.unlike(row)


@pytest.mark.assets
@fetched("imu")
def test_a_movement_may_have_any_length(exported: Callable[[str], Exported]) -> None:
    this = exported("imu")
    for length in (25, 301):
        measured = np.random.default_rng(length).normal(0, 1, (length, 6))
        sample = this.parts.modality.parse({"data": measured, "rate": 50, "units": "SI"})
        embedding = torch.from_numpy(this.parts.encoder.encode([sample]))
        soft = this.parts.projector.soft(this.parts.alignment(embedding))[0]
        np.testing.assert_allclose(this.runner.read(measured)["soft_tokens"], soft.numpy(), atol=1e-4)


@st.composite
def memories(draw: st.DrawFn) -> Memory:
    """On a grid, where distances are exact in any order of summation; with copies."""
    k = draw(st.integers(1, 8))
    rows = draw(arrays(np.int8, (k, WIDTH), elements=st.integers(-3, 3)))
    return Memory(
        torch.from_numpy(rows.astype(np.float32)), draw(st.lists(st.sampled_from("abc"), min_size=k, max_size=k))
    )


@settings(max_examples=40)
@given(memories(), arrays(np.int8, WIDTH, elements=st.integers(-20, 20)))
def test_the_runner_remembers_as_semi_does(
    tmp_path_factory: pytest.TempPathFactory, exported: Callable[[str], Exported], memory: Memory, row: np.ndarray
) -> None:
    out = tmp_path_factory.getbasetemp() / "remembered"
    shutil.copytree(exported("vectors").out, out, dirs_exist_ok=True)
    (out / "labels.json").write_bytes(label_table(memory))
    found = load_runner(out).Runner(out, verify=False).read(row)
    embedding = torch.from_numpy(row.astype(np.float32))
    assert found["labels"] == [[n.label, n.distance] for n in memory.nearest(embedding)]
    assert found["unlike"] == memory.unlike(embedding)


def test_embeddings_come_back_exactly() -> None:
    rows = torch.randn(5, 7, generator=torch.Generator().manual_seed(0)) * 1e-3
    table = json.loads(label_table(Memory(rows, list("abcde"))))
    np.testing.assert_array_equal(np.array(table["embeddings"], np.float32), rows.numpy())


def test_several_vectors_a_sample(toy: Exported) -> None:
    several = np.stack([pair.sample for pair in toy.pairs[:3]]).astype(np.float32)
    soft = toy.parts.projector.soft(toy.parts.alignment(torch.from_numpy(several)[None]))[0]
    found = toy.runner.read(several)
    np.testing.assert_allclose(found["soft_tokens"], soft.numpy(), atol=1e-5)
    assert found["unlike"] == toy.parts.memory.unlike(torch.from_numpy(several.mean(0)))


def test_the_same_integration_gives_the_same_bytes(toy: Exported, tmp_path: Path) -> None:
    export(toy.folder, tmp_path / "again", start="embedding")
    for path in toy.out.iterdir():
        if path.name not in ("manifest.json", "__pycache__"):
            assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes(), path.name
    assert str(Path(__file__).parents[2]).encode() not in (toy.out / "model.onnx").read_bytes()


def test_an_encoder_without_a_network_is_refused_by_name(made: Made, tmp_path: Path) -> None:
    pytest.importorskip("semi_plugin_image")
    folder, _ = made("image", encoder="layout")
    with pytest.raises(InputError, match="image/layout@1") as refused:
        export(folder, tmp_path / "out")
    assert "--from embedding" in str(refused.value)
    assert not (tmp_path / "out").exists()
    info = export(folder, tmp_path / "out", start="embedding")
    assert info["parity"] <= 1e-4
    assert load_runner(tmp_path / "out").Runner(tmp_path / "out").shape[0] == "t"


def test_statistics_of_a_movement_of_any_length(made: Made, tmp_path: Path) -> None:
    folder, pairs = made("imu", encoder="statistics")
    assert export(folder, tmp_path / "out", check=[pair.sample for pair in pairs])["parity"] <= 1e-4
    runner, parts = load_runner(tmp_path / "out").Runner(tmp_path / "out"), read_parts(folder)
    for length in (25, 60, 200, 301):
        measured = np.random.default_rng(length).normal(0, 1, (length, 6))
        sample = parts.modality.parse({"data": measured, "rate": 50, "units": "SI"})
        embedding = torch.from_numpy(parts.encoder.encode([sample]))
        soft = parts.projector.soft(parts.alignment(embedding))[0]
        np.testing.assert_allclose(runner.read(measured)["soft_tokens"], soft.numpy(), atol=1e-4)
        assert runner.read(measured)["labels"][0][0] == parts.memory.nearest(embedding[0])[0].label


def test_a_graph_that_computes_something_else_is_no_export(
    toy: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other(path: Path, *parts: Any) -> None:
        shutil.copy(toy.out / "model.onnx", path)
        parts[-1].layers[0].weight.data += 0.01

    monkeypatch.setattr(exporting, "write_graph", other)
    with pytest.raises(SemiError, match="something else than PyTorch"):
        export(toy.folder, tmp_path / "out")
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_a_taken_folder_and_missing_packages_are_refused(toy: Exported, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OutputError, match="complete already"):
        export(toy.folder, toy.out)
    monkeypatch.setattr(exporting.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="packages for ONNX") as refused:
        export(toy.folder, toy.out)
    assert "semi-llm[onnx]" in str(refused.value)
