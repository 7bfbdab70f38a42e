"""Folders of the hub by their ids: a hub of this machine's own, its cache, and no network at all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants
from torch import Tensor

from semi.errors import ArtifactError
from semi.merge.inputs import find_folder
from semi.merge.origin import open_base
from semi.merge.run import run_merge
from tests.hub_server import ID, Hub, answering
from tests.merge.conftest import write_checkpoint
from tests.merge.merges import config_of, contents

FIRST, SECOND = "1" * 40, "2" * 40
BESIDE = {
    "config.json": "{}",
    "tokenizer.json": "{}",
    "merges.txt": "a b",
    "chat_template.jinja": "",
    "spiece.model": "",
}
UNREAD = (
    "README.md",
    "pytorch_model.bin",
    "optimizer.pt",
    "model.gguf",
    "code.py",
    "onnx/model.safetensors",
    "consolidated.00.safetensors",
)


@pytest.fixture
def hub(tmp_path: Path, base: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    commits = {}
    for commit, factor in ((FIRST, 1), (SECOND, 2)):
        folder = write_checkpoint(tmp_path / commit, {key: tensor * factor for key, tensor in base.items()}, shards=2)
        for name in (*BESIDE, *UNREAD):
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(BESIDE.get(name, "never read"))
        commits[commit] = folder
    with answering(Hub(commits), tmp_path / "cache", monkeypatch) as found:
        yield found


def test_what_is_fetched(hub: Hub) -> None:
    folder = find_folder(ID)
    shards = {f"model-0000{i}-of-00002.safetensors" for i in (1, 2)}
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert found == {*BESIDE, *shards, "model.safetensors.index.json"}
    for name in found:
        assert (folder / name).read_bytes() == (hub.commits[SECOND] / name).read_bytes()
    assert not any(name in path for path in hub.asked for name in UNREAD)
    assert folder.name == SECOND


def test_a_revision_is_fetched_by_name(hub: Hub) -> None:
    assert find_folder(f"{ID}@{FIRST}").name == FIRST
    with pytest.raises(ArtifactError, match="nothing of that name can be fetched"):
        find_folder(f"{ID}@no-such-branch")


def test_without_a_network_the_cache_is_used_whole_or_not_at_all(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = find_folder(ID)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    hub.asked.clear()
    assert find_folder(ID) == folder
    with pytest.raises(ArtifactError, match="nothing of that name can be fetched") as caught:
        find_folder("owner/other")
    assert "HF_HUB_OFFLINE" in str(caught.value.do)
    (folder / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(ArtifactError, match="nothing of that name can be fetched"):
        find_folder(ID)
    assert not hub.asked


def test_a_name_that_the_hub_does_not_know_is_told(hub: Hub) -> None:
    with pytest.raises(ArtifactError, match="there is no folder owner/other") as caught:
        find_folder("owner/other")
    assert caught.value.got


def test_a_folder_comes_before_the_hub(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ID).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert find_folder(ID) == Path(ID)
    assert not hub.asked


def test_a_merge_of_models_on_the_hub_is_that_of_their_folders(hub: Hub, tmp_path: Path) -> None:
    there = config_of(Path(f"{ID}@{FIRST}"), {"one": Path(ID)})
    here = config_of(hub.commits[FIRST], {"one": find_folder(ID)})
    for name, config in (("there", there), ("here", here)):
        run_merge(config, tmp_path / name)
    one, other = contents(tmp_path / "there"), contents(tmp_path / "here")
    for name in one.keys() | other.keys():
        if name not in ("manifest.json", "merge.json"):  # these say where the models were
            assert one[name] == other[name], name
    from semi.merge.artifact import Artifact

    with Artifact.open(tmp_path / "there") as artifact:
        assert artifact.base.id == f"{ID}@{FIRST}"
        open_base(artifact).close()  # found again by its name
