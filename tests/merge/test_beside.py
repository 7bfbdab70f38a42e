"""Encoders and connectors in files of their own: copied byte for byte, or refused, and never passed over in silence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from typer.testing import CliRunner

from semi.cli.merge import app
from semi.errors import ArtifactError
from semi.language_model import LanguageModel
from semi.merge.adding import add_model
from semi.merge.artifact import Artifact
from semi.merge.export import export
from semi.merge.inputs import open_inputs
from semi.merge.plan import make_plan
from semi.merge.removing import remove_model
from semi.merge.run import run_merge
from semi.merge.verify import verify
from tests.merge.conftest import Q, write_checkpoint
from tests.merge.llamas import Merged, merge_llamas
from tests.merge.merges import config_of, contents
from tests.merge.newcomers import NEW, newcomer

Tensors = dict[str, Tensor]
PROJECTOR = {"projector.weight": torch.randn(3, 4).bfloat16(), "projector.ids": torch.arange(3)}
TOWER = {"patch.weight": torch.randn(2, 2)}
FILES = {"projector.safetensors": 2, "tower/model-00001-of-00001.safetensors": 1}


def put_beside(folder: Path) -> Path:
    save_file(PROJECTOR, folder / "projector.safetensors")
    (folder / "tower").mkdir()
    save_file(TOWER, folder / "tower" / "model-00001-of-00001.safetensors")
    (folder / "tower" / "model.safetensors.index.json").write_text("{}")
    return folder


def copies(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in (*FILES, "tower/model.safetensors.index.json")}


@pytest.fixture
def vision(tmp_path: Path, tunes: dict[str, Tensors]) -> Path:
    return put_beside(write_checkpoint(tmp_path / "vision", tunes["vision"], shards=2))


def test_they_are_copied_listed_and_verified(
    vision: Path, base_folder: Path, lora_folder: Path, tunes: dict[str, Tensors], tmp_path: Path
) -> None:
    save_file(PROJECTOR, lora_folder / "projector.safetensors")
    save_file(TOWER, base_folder / "tower.safetensors")
    models: dict[str, Path | dict[str, Any]] = {
        "vision": vision,
        "text": write_checkpoint(tmp_path / "text", tunes["text"]),
        "lora": {"path": str(lora_folder), "adapter": "lora"},
    }
    config = config_of(base_folder, models, verify={"max_residual": 9})
    plan = make_plan(config, tmp_path)
    of_adapter = {"tower.safetensors": 1, "projector.safetensors": 2}  # an adapter comes with what its base comes with
    assert plan["beside"] == {"vision": FILES, "text": {}, "lora": of_adapter}
    run_merge(config, out := tmp_path / "out")
    assert copies(out / "files" / "vision") == copies(vision)
    with Artifact.open(out) as artifact:
        assert artifact.summary()["beside"] == plan["beside"]
        found = {check.name: check for check in verify(artifact, models=True).checks}
        assert all(check.state == "passed" for check in found.values()), found
        assert str(2 * 7 + 2 + 3 + 3) in found["models' keys"].found
        for name in ("vision", "lora"):
            export(artifact, name, tmp_path / f"{name}-again")
    assert copies(tmp_path / "vision-again") == copies(vision)
    assert {path.name for path in (tmp_path / "lora-again").iterdir()} >= {*of_adapter, "model.safetensors"}
    for verb in (["plan", write_yaml(config, tmp_path)], ["inspect", str(out)]):
        said = CliRunner().invoke(app, verb)
        assert said.exit_code == 0, said.output
        assert "projector.safetensors of vision" in said.output

    save_file(TOWER, vision / "projector.safetensors")
    with Artifact.open(out) as artifact:
        found = {check.name: check for check in verify(artifact, models=True).checks}
    assert found["copies"].state == "failed"
    assert found["copies"].found == "projector.safetensors of vision differs"


def test_they_come_and_go_with_a_model_that_is_added(merged: Merged, tmp_path: Path) -> None:
    config, _ = newcomer(merged, tmp_path / NEW)
    put_beside(tmp_path / NEW)
    add_model(merged.folder, config, out := tmp_path / "out.mmer")
    assert copies(out / "files" / NEW) == copies(tmp_path / NEW)
    with Artifact.open(out) as artifact:
        assert artifact.beside(NEW) == FILES
        assert verify(artifact, models=True).fine
    remove_model(out, NEW)
    assert contents(out) == contents(merged.folder)


@pytest.fixture(scope="module")
def merged(tmp_path_factory: pytest.TempPathFactory, write_lm: Callable[..., Path]) -> Merged:
    return merge_llamas(tmp_path_factory.mktemp("merge"), write_lm)


def test_a_language_model_is_the_same_with_another_encoder(merged: Merged, tmp_path: Path) -> None:
    config, _ = newcomer(merged, tmp_path / NEW)
    hashes = []
    for name in ("one", "other"):
        save_file({"encoder": torch.randn(2)}, tmp_path / NEW / "encoder.safetensors")
        add_model(merged.folder, config, tmp_path / f"{name}.mmer")
        hashes.append(LanguageModel.load(f"{tmp_path / name}.mmer#{NEW}", device="cpu").sha256)
    assert hashes[0] == hashes[1]


def test_what_is_left_out_is_said(base_folder: Path, vision: Path, tunes: dict[str, Tensors], tmp_path: Path) -> None:
    save_file({"layers.0.wq": torch.ones(2)}, vision / "consolidated.00.safetensors")
    write_checkpoint(vision / "checkpoint-500", tunes["vision"])
    (vision / "optimizer.pt").write_text("")
    config = config_of(base_folder, {"vision": vision})
    notes = " ".join(make_plan(config, tmp_path)["notes"])
    for name in ("consolidated.00.safetensors", "checkpoint-500/model.safetensors", "optimizer.pt"):
        assert name in notes
    assert run_merge(config, tmp_path / "out")["notes"]
    copied = tmp_path / "out" / "files" / "vision"
    assert {p.relative_to(copied).as_posix() for p in copied.rglob("*") if p.is_file()} == {*copies(vision)}


REFUSED: dict[str, tuple[str, Tensors]] = {
    "older shards": ("model-00001-of-00009.safetensors", {Q: torch.ones(8, 8)}),
    "tensors of both": ("projector.safetensors", {Q: torch.ones(8, 8), "projector.weight": torch.ones(2)}),
    "the name of an export's": ("model.safetensors", {"projector.weight": torch.ones(2)}),
    "an adapter on top": ("adapter_model.safetensors", {"x.lora_A.weight": torch.ones(2, 8)}),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_copied_is_refused_by_name(
    case: str, base_folder: Path, tunes: dict[str, Tensors], lora_folder: Path, tmp_path: Path
) -> None:
    name, tensors = REFUSED[case]
    models: dict[str, Path | dict[str, Any]] = {"vision": write_checkpoint(tmp_path / "vision", tunes["vision"])}
    folder, model = tmp_path / "vision", "vision"
    if name == "model.safetensors":  # of a full model it would be read
        models, folder, model = {"lora": {"path": str(lora_folder), "adapter": "lora"}}, lora_folder, "lora"
    save_file(tensors, folder / name)
    with pytest.raises(ArtifactError, match="cannot be copied") as caught:
        run_merge(config_of(base_folder, models), tmp_path / "out")
    assert f"{model}: {name}" in str(caught.value.got)
    assert not (tmp_path / "out").exists()


def test_a_damaged_file_is_refused(base_folder: Path, vision: Path, tmp_path: Path) -> None:
    content = (vision / "projector.safetensors").read_bytes()
    (vision / "projector.safetensors").write_bytes(content[:-1])
    with (
        pytest.raises(ArtifactError, match=r"projector\.safetensors"),
        open_inputs(config_of(base_folder, {"vision": vision})),
    ):
        pass


def write_yaml(config: Any, folder: Path) -> str:
    path = folder / "merge.yaml"
    path.write_text(config.model_dump_json(by_alias=True, exclude_none=True, exclude_defaults=True))
    return str(path)
