from __future__ import annotations

import os
from pathlib import Path

import pytest

from semi.artifacts import write_manifest
from semi.artifacts.lock import FolderLock
from semi.errors import OutputError
from semi.merge import editing
from semi.merge.artifact import KIND
from semi.merge.editing import edited, exchange, take_over


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return filled(tmp_path / "x.mmer", "old")


def filled(folder: Path, text: str) -> Path:
    folder.mkdir()
    (folder / "file").write_text(text)
    write_manifest(folder, kind=KIND, files=["file"], info={})
    return folder


def edit(folder: Path, out: Path | None = None, *, force: bool = False, error: BaseException | None = None) -> None:
    with edited(folder, out, {"change": 1}, force=force) as new:
        assert (folder / "file").read_text() == "old"
        (new.path / "file").write_text("new")
        if error:
            raise error
        new.finish(["file"], {})


def there(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


@pytest.mark.parametrize("at_once", [True, False])
def test_two_folders_change_places(at_once: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not at_once:
        monkeypatch.setattr(editing, "_exchanged", lambda one, other: False)
    one, other = filled(tmp_path / "one", "1"), filled(tmp_path / "other", "2")
    exchange(one, other)
    assert [(path / "file").read_text() for path in (one, other)] == ["2", "1"]
    assert {path.name for path in tmp_path.iterdir()} == {"one", "other"}
    with pytest.raises(OutputError, match="could not be written"):
        exchange(tmp_path / "nothing", other)


@pytest.mark.parametrize("at_once", [True, False])
def test_in_its_place(at_once: bool, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not at_once:
        monkeypatch.setattr(editing, "_exchanged", lambda one, other: False)
    edit(folder)
    assert (folder / "file").read_text() == "new"
    assert there(tmp_path) == {"x.mmer", "x.mmer/file", "x.mmer/manifest.json"}
    edited_again = filled(tmp_path / "y.mmer", "old")
    edit(edited_again, edited_again)  # named as its own output
    assert (edited_again / "file").read_text() == "new"


def test_elsewhere(folder: Path, tmp_path: Path) -> None:
    edit(folder, tmp_path / "out")
    assert (folder / "file").read_text() == "old"
    assert (tmp_path / "out" / "file").read_text() == "new"
    with pytest.raises(OutputError, match="is complete already"):
        edit(folder, tmp_path / "out")
    edit(folder, tmp_path / "out", force=True)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OutputError("full")])
def test_what_fails_leaves_the_old_one(error: BaseException, folder: Path, tmp_path: Path) -> None:
    before = there(tmp_path)
    with pytest.raises(type(error)):
        edit(folder, error=error)
    assert (folder / "file").read_text() == "old"
    assert there(tmp_path) == before


def test_what_a_killed_edit_left_is_replaced(folder: Path, tmp_path: Path) -> None:
    filled(tmp_path / "x.mmer.new", "of a killed run, after the exchange")
    edit(folder)
    assert (folder / "file").read_text() == "new"
    assert {path.name for path in tmp_path.iterdir()} == {"x.mmer"}


def test_what_is_not_a_merge_of_ours_is_not_replaced(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "x.mmer.new").mkdir()
    (tmp_path / "x.mmer.new" / "mine").write_text("")
    with pytest.raises(OutputError, match="was not made by semi"):
        edit(folder)
    assert there(tmp_path / "x.mmer.new") == {"mine"}
    assert "run.lock" not in there(folder)


def test_one_edit_at_a_time(folder: Path) -> None:
    lock = FolderLock(folder)
    with pytest.raises(OutputError, match="in use"):
        edit(folder)
    lock.release()
    edit(folder)


@pytest.mark.parametrize("links", [True, False])
def test_files_are_taken_over(links: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no links here")

    if not links:
        monkeypatch.setattr(os, "link", refuse)
    (tmp_path / "old" / "deep").mkdir(parents=True)
    (tmp_path / "old" / "deep" / "file").write_text("text")
    take_over(["deep/file"], tmp_path / "old", tmp_path / "new")
    assert (tmp_path / "new" / "deep" / "file").read_text() == "text"
    with pytest.raises(OutputError, match="could not be written"):
        take_over(["nothing"], tmp_path / "old", tmp_path / "new")
