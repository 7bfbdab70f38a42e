"""Integrations and foundations onto the hub and back."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import Result
from huggingface_hub import ModelCard
from typer.testing import CliRunner

import semi
from semi.artifacts import read_manifest
from semi.cli import app
from semi.encoding import encode
from semi.errors import ArtifactError, InputError, SemiError
from semi.hub import card_of, push_folder
from semi.language_model import LanguageModel
from semi.pairs import Pair
from semi.vectors import Vectors
from tests.hub.conftest import Pushes

SAMPLE = [1.0, 0.2, 1.0, -2.0]


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_an_integration_comes_back_as_it_was(hub: Pushes, repo: str, integration: Path) -> None:
    model = semi.Integration.load(integration)
    address = model.push_to_hub(repo, private=True, token="hf_x", commit_message="First.")
    assert address == f"https://huggingface.co/{repo}/commit/{'3' * 40}"
    assert {name.rpartition(".")[2] for name in content(hub.folder)} == {"safetensors", "json", "md"}
    asked = dict(hub.asked)
    assert asked["HfApi"]["token"] == "hf_x"
    assert asked["create_repo"] == {"repo_id": repo, "private": True, "exist_ok": True}
    assert asked["create_commit"] == {"commit_message": "First.", "revision": None, "create_pr": False}
    back = semi.Integration.from_pretrained(repo)
    assert back.record == model.record
    assert back.describe(SAMPLE) == model.describe(SAMPLE)


def test_a_foundation_comes_back_as_it_was(
    hub: Pushes, repo: str, foundation_folder: Path, tiny_text: str, language_model: LanguageModel
) -> None:
    foundation = semi.Foundation.load(foundation_folder)
    foundation.push_to_hub(repo, license="apache-2.0", revision="next")
    assert ("create_branch", {"branch": "next", "exist_ok": True}) in hub.asked
    back = semi.Foundation.from_pretrained(repo, language_model=language_model)
    assert back.sha256 == foundation.sha256
    assert back.language_model is language_model
    assert semi.Foundation.load(repo, language_model=language_model).sha256 == foundation.sha256


def test_a_folder_is_pushed_as_it_is_and_nothing_beside_it(hub: Pushes, repo: str, integration: Path) -> None:
    (integration / "secret.txt").write_text("not in the manifest")
    push_folder(integration, repo)
    expected = content(integration)
    del expected["secret.txt"]
    found = content(hub.folder)
    del found["README.md"]
    assert found == expected


def test_a_local_folder_needs_no_hub(integration: Path, tiny_text: str) -> None:
    assert semi.Integration.from_pretrained(integration).record.modality == "vectors"


def test_what_is_not_there_is_refused(hub: Pushes) -> None:
    for name in ("owner/nothing", "./nothing", "one"):
        with pytest.raises(ArtifactError, match=f"there is no folder {name}"):
            semi.Integration.from_pretrained(name)


def test_a_damaged_repository_is_refused(hub: Pushes, repo: str, integration: Path) -> None:
    push_folder(integration, repo)
    with open(hub.folder / "integration.safetensors", "ab") as file:
        file.write(b" ")
    with pytest.raises(ArtifactError, match="another size than its manifest says"):
        semi.Integration.from_pretrained(repo)


def test_the_card_says_what_the_record_says(integration: Path, repo: str) -> None:
    card = ModelCard(card_of(integration, repo, license="mit"))
    assert card.data.library_name == "semi-llm"
    assert card.data.license == "mit"
    assert card.data.tags == ["vectors", "semi", "multimodal"]
    record = json.loads((integration / "integration.json").read_text())
    assert f'semi.Integration.from_pretrained("{repo}")' in card.text
    assert "8 pairs" in card.text
    assert record["encoder"]["id"] in card.text
    assert record["support_sha256"][:16] in card.text
    assert f"| {record['metrics']['diagnosis']['loss']} |" in card.text
    folder = record["language_model"]["id"]
    assert Path(folder).name in card.text
    assert str(Path(folder).parent) not in card.text  # a folder of this machine


def test_the_card_of_a_foundation_says_what_it_was_trained_on(foundation_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "trained"
    shutil.copytree(foundation_folder, folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    sources = [{"encoded": "/home/me/emoji", "procedural": None}, {"encoded": None, "procedural": 12}]
    manifest["info"] = {"config": {"sources": sources}, "best": {"step": 40.0, "loss": 1.25}}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    card = ModelCard(card_of(folder, "owner/name"))
    assert "`emoji`; 12 procedural modalities" in card.text
    assert "/home/me" not in card.text
    assert "1.250 nats a caption token, after 40 steps" in card.text
    assert "not given" in card.text


def test_the_folders_own_card_is_kept(hub: Pushes, repo: str, integration: Path) -> None:
    (integration / "README.md").write_text("# Mine\n")
    push_folder(integration, repo)
    assert (hub.folder / "README.md").read_text() == "# Mine\n"


def test_what_cannot_be_pushed_is_refused(hub: Pushes, repo: str, integration: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not the name of a repository"):
        push_folder(integration, "name")
    encode(Vectors(), Vectors().encoder(), [Pair([0.5], "half")], tmp_path / "encoded")
    with pytest.raises(ArtifactError, match="cannot be pushed"):
        push_folder(tmp_path / "encoded", repo)
    (integration / "manifest.json").unlink()
    with pytest.raises(ArtifactError, match="incomplete"):
        push_folder(integration, repo)
    assert hub.asked == []


def test_a_hub_that_refuses_is_told_in_one_message(hub: Pushes, repo: str, integration: Path) -> None:
    hub.fails = ConnectionError("no route\nto the hub")
    with pytest.raises(SemiError, match="could not be pushed") as caught:
        push_folder(integration, repo)
    assert caught.value.got == "no route"
    done = run("push", integration, repo)
    assert done.exit_code == 1
    assert "Traceback" not in done.output


def test_the_command(hub: Pushes, repo: str, integration: Path) -> None:
    shown = run("push", integration, repo, "--card-only", "--license", "mit")
    assert shown.stdout == card_of(integration, repo, license="mit")
    assert hub.asked == []
    done = run("push", integration, repo, "--license", "mit", "--private")
    assert done.exit_code == 0
    assert done.stdout.startswith(f"https://huggingface.co/{repo}/commit/")
    assert read_manifest(hub.folder, "integration")
    assert run("push", integration / "nothing", repo).exit_code == 2


def test_the_page_takes_a_foundation_of_the_hub(
    hub: Pushes, repo: str, foundation_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("gradio")
    monkeypatch.setattr("signal.signal", lambda *_: None)  # the verb is the process's last; here others follow
    push_folder(foundation_folder, repo)
    result = run("ui", "--dir", tmp_path, "--foundation", repo, "--study", tmp_path, "--port", 0)
    assert result.exit_code == 2
    assert "holds no summary of a study" in result.stderr
